//! Topics whose messages become events one by one, without a look into the database.

use async_trait::async_trait;
use mesh_six_core::{ApiError, Event};
use mesh_six_sidecar::{BulkHandler, Delivery, Status};

use super::{Intake, Refusal};

/// Writes the event that `read` makes of each message.
pub(crate) struct Facts {
    intake: Intake,
    read: fn(&Delivery) -> Result<Event, ApiError>,
}

impl Facts {
    /// The orchestrator's facts of topic `task-events`, under the keys that it gave them, so both paths together
    /// give one row.
    pub(crate) fn of_tasks(intake: Intake) -> Self {
        Self { intake, read: super::events::read }
    }

    /// Agents' notes of topic `task-progress`, once per CloudEvent.
    pub(crate) fn of_progress(intake: Intake) -> Self {
        Self { intake, read: super::progress::read }
    }
}

#[async_trait]
impl BulkHandler for Facts {
    async fn handle(&self, deliveries: Vec<Delivery>) -> Vec<Status> {
        let events = deliveries.iter().map(|d| (self.read)(d).map_err(Refusal::Bad)).collect();
        self.intake.take(&deliveries, events).await
    }

    async fn dropped(&self, delivery: &Delivery, reason: &str) -> Status {
        self.intake.dropped(delivery, reason).await
    }
}
