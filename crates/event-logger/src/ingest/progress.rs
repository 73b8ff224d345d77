//! Topic `task-progress`: notes of agents at work. The only path they have.

use async_trait::async_trait;
use mesh_six_core::{ApiError, Event, event::catalogue, parse_value, task::TaskProgress};
use mesh_six_sidecar::{BulkHandler, Delivery, Status};

use super::{Intake, Refusal};

/// Writes `task.progress`, once per CloudEvent.
pub(crate) struct TaskProgressNotes(pub(crate) Intake);

#[async_trait]
impl BulkHandler for TaskProgressNotes {
    async fn handle(&self, deliveries: Vec<Delivery>) -> Vec<Status> {
        let events = deliveries.iter().map(|d| read(d).map_err(Refusal::Bad)).collect();
        self.0.take(&deliveries, events).await
    }

    async fn dropped(&self, delivery: &Delivery, reason: &str) -> bool {
        self.0.dropped(delivery, reason).await
    }
}

fn read(delivery: &Delivery) -> Result<Event, ApiError> {
    let note: TaskProgress = parse_value(delivery.event.data.clone())?;
    let event = &delivery.event;
    let time = event.time.ok_or_else(|| ApiError::validation("time", "the CloudEvent has no time, so no key"))?;
    Ok(catalogue::task_progress(&note, &event.source, &event.id, time))
}
