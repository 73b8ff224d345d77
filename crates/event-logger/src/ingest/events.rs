//! Topic `task-events`: the orchestrator's own facts, as the events that it has written itself.

use async_trait::async_trait;
use mesh_six_core::{ApiError, Event, names::ORCHESTRATOR, parse_value};
use mesh_six_sidecar::{BulkHandler, Delivery, Status};

use super::{Intake, Refusal};

/// Writes the orchestrator's facts under the keys that it gave them, so both paths together give one row.
pub(crate) struct TaskEvents(pub(crate) Intake);

#[async_trait]
impl BulkHandler for TaskEvents {
    async fn handle(&self, deliveries: Vec<Delivery>) -> Vec<Status> {
        let events = deliveries.iter().map(|d| read(d).map_err(Refusal::Bad)).collect();
        self.0.take(&deliveries, events).await
    }

    async fn dropped(&self, delivery: &Delivery, reason: &str) -> bool {
        self.0.dropped(delivery, reason).await
    }
}

fn read(delivery: &Delivery) -> Result<Event, ApiError> {
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
