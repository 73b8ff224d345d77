//! Topic `task-events`: the orchestrator's own facts, as the events that it has written itself.

use mesh_six_core::{ApiError, Event, names::ORCHESTRATOR, parse_value};
use mesh_six_sidecar::Delivery;

pub(super) fn read(delivery: &Delivery) -> Result<Event, ApiError> {
    let event: Event = parse_value(delivery.event.data.clone())?;
    for (field, who) in [("source", &delivery.event.source), ("agentId", &event.agent_id)] {
        if who != ORCHESTRATOR {
            return Err(ApiError::validation(field, "only the orchestrator's facts come on this topic"));
        }
    }
    // Without a key the direct path's row could not be recognised, and the fact would be there twice.
    if event.idempotency_key.is_none() {
        return Err(ApiError::validation("idempotencyKey", "a fact of the orchestrator has a key"));
    }
    Ok(event)
}
