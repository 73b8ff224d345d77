//! Topic `task-progress`: notes of agents at work. The only path they have.

use mesh_six_core::{ApiError, Event, event::catalogue, parse_value, task::TaskProgress};
use mesh_six_sidecar::Delivery;

pub(super) fn read(delivery: &Delivery) -> Result<Event, ApiError> {
    let (content, foreign) = delivery.content_with_trace();
    let note: TaskProgress = parse_value(content)?;
    let event = &delivery.event;
    let time = event.time.ok_or_else(|| ApiError::validation("time", "the CloudEvent has no time, so no key"))?;
    Ok(catalogue::task_progress(&note, &event.source, &event.id, time).with_foreign_trace(foreign))
}
