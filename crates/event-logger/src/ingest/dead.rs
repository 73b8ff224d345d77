//! Topic `dead-letter`: what sidecars and handlers gave up on. Raw bytes, never dropped.

use async_trait::async_trait;
use mesh_six_db::dead_letters::DeadLetter;
use mesh_six_sidecar::{BulkHandler, Delivery, Status};

use super::Intake;

/// Stores dead letters as they came. A letter whose handler stored its reason before keeps it.
pub(crate) struct DeadLetters(pub(crate) Intake);

#[async_trait]
impl BulkHandler for DeadLetters {
    async fn handle(&self, deliveries: Vec<Delivery>) -> Vec<Status> {
        let letters: Vec<DeadLetter> = deliveries.iter().map(letter).collect();
        // This subscription has no dead letters of its own, so whatever fails is tried again.
        let status = match self.0.store(&letters).await {
            Ok(()) => Status::Success,
            Err(_) => Status::Retry,
        };
        vec![status; deliveries.len()]
    }

    async fn dropped(&self, _: &Delivery, _: &str) -> Status {
        Status::Retry
    }
}

fn letter(delivery: &Delivery) -> DeadLetter {
    DeadLetter {
        // Dapr forwards the envelope without a word about whose subscription dropped it.
        app_id: delivery.origin_app_id().unwrap_or("unknown").to_owned(),
        topic: delivery.origin_topic().to_owned(),
        source: delivery.event.source.clone(),
        id: delivery.event.id.clone(),
        envelope: delivery.bytes.to_vec(),
        reason: None,
    }
}
