//! Deliveries of the agent's topic: accepted into the inbox, never worked on (messaging.md §1).

use std::sync::Arc;

use async_trait::async_trait;
use mesh_six_core::{parse_value, task::TaskRequest};
use mesh_six_db::{DbError, dead_letters::DeadLetter, inbox::Accepted};
use mesh_six_sidecar::{BulkHandler, Delivery, Status};
use serde_json::Value;
use tokio::sync::Notify;

use super::{inbox::Inbox, metrics};
use crate::http::HealthState;

/// Takes deliveries in.
pub(super) struct Deliveries {
    pub(super) agent: String,
    pub(super) inbox: Arc<dyn Inbox>,
    pub(super) health: HealthState,
    /// There is something to claim.
    pub(super) queued: Arc<Notify>,
    /// There is something to publish.
    pub(super) finished: Arc<Notify>,
}

#[async_trait]
impl BulkHandler for Deliveries {
    async fn handle(&self, deliveries: Vec<Delivery>) -> Vec<Status> {
        let mut statuses = Vec::with_capacity(deliveries.len());
        for delivery in &deliveries {
            // Once the infrastructure is away, the rest of the batch would only wait for the same answer.
            let away = statuses.last() == Some(&Status::Retry);
            statuses.push(if away { self.retry() } else { self.take(delivery).await });
        }
        statuses
    }

    async fn dropped(&self, delivery: &Delivery, reason: &str) -> Status {
        let letter = DeadLetter {
            app_id: self.agent.clone(),
            topic: delivery.topic.clone(),
            source: delivery.event.source.clone(),
            id: delivery.event.id.clone(),
            envelope: delivery.bytes.to_vec(),
            reason: Some(reason.to_owned()),
        };
        match self.inbox.bury(letter).await {
            Ok(()) if self.inbox.is_durable() => Status::Buried,
            // Without a database only the sidecar can keep it.
            Ok(()) => Status::Drop,
            Err(error) if error.is_transient() => Status::Retry,
            Err(error) => {
                let error: &dyn std::error::Error = &error;
                tracing::error!(agent.id = self.agent, error, reason, "a dropped delivery's reason cannot be stored");
                Status::Drop
            }
        }
    }
}

impl Deliveries {
    async fn take(&self, delivery: &Delivery) -> Status {
        if self.health.is_draining() && !self.inbox.is_durable() {
            return self.retry();
        }
        let request: TaskRequest = match parse_value(with_trace(delivery)) {
            Ok(request) => request,
            Err(error) => return self.drop_it(self.rejected(delivery, &error).await),
        };
        match self.inbox.accept(&request, delivery.traceparent.as_deref()).await {
            Ok(Accepted::Queued) => {
                self.queued.notify_one();
                self.answer("queued", Status::Success)
            }
            Ok(Accepted::Known) => self.answer("known", Status::Success),
            Ok(Accepted::Done) => {
                self.finished.notify_one();
                self.answer("done", Status::Success)
            }
            Ok(Accepted::NotExpected) => {
                tracing::debug!(agent.id = self.agent, task.id = %request.id, request.attempt, "not expected; ignored");
                self.answer("ignored", Status::Success)
            }
            Ok(Accepted::NobodyAsked) => {
                let reason = "id: nobody asked this agent for that attempt";
                self.drop_it(self.dropped(delivery, reason).await)
            }
            Err(error) if error.is_transient() => self.retry(),
            Err(error) => {
                let reason = match &error {
                    DbError::Refused(refusal) => refusal.message.clone(),
                    other => other.to_string(),
                };
                self.drop_it(self.dropped(delivery, &reason).await)
            }
        }
    }

    fn drop_it(&self, answer: Status) -> Status {
        if answer == Status::Retry { self.retry() } else { self.answer("dropped", answer) }
    }

    fn retry(&self) -> Status {
        self.answer("retried", Status::Retry)
    }

    fn answer(&self, answer: &'static str, status: Status) -> Status {
        metrics::delivered(&self.agent, answer);
        status
    }
}

/// The request with the trace of its envelope, if it has none of its own.
fn with_trace(delivery: &Delivery) -> Value {
    let mut data = delivery.event.data.clone();
    if let Value::Object(request) = &mut data
        && request.get("traceId").is_none_or(Value::is_null)
        && let Some(trace) = delivery.trace_id()
    {
        request.insert("traceId".to_owned(), trace.to_string().into());
    }
    data
}
