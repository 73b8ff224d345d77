//! An event made ready to be written: checked, its key hashed, its payload serialized once and bounded.

use chrono::{DateTime, Utc};
use mesh_six_core::{
    ApiError, Validate,
    event::{Content, Event, EventKey, check::MAX_PAYLOAD_BYTES},
};
use uuid::Uuid;

use super::strays::task_of;

/// One row to be.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) id: Uuid,
    pub(crate) trace_id: Uuid,
    pub(crate) task_id: Option<Uuid>,
    pub(crate) agent_id: String,
    pub(crate) event_type: String,
    pub(crate) event_version: i32,
    /// JSON text.
    pub(crate) payload: String,
    pub(crate) aggregate_id: Option<String>,
    pub(crate) idempotency_key: Option<String>,
    /// Where the key belongs.
    pub(crate) key: Option<EventKey>,
    pub(crate) occurred_at: DateTime<Utc>,
    pub(crate) content: Option<Content>,
}

impl Entry {
    /// For callers who may be told that their clock is wrong: `occurred_at` is checked against `now`.
    pub(crate) fn checked(event: Event, now: DateTime<Utc>) -> Result<Self, ApiError> {
        let key = event.check(now)?;
        Ok(Self::of(event, key))
    }

    /// For facts that must be written: an absurd `occurred_at` is left to the statement, which takes the
    /// database's clock instead.
    pub(crate) fn lenient(event: Event, now: DateTime<Utc>) -> Result<Self, ApiError> {
        event.validate()?;
        let key = event.idempotency_key.as_deref().map(|k| EventKey::parse(k, now)).transpose()?;
        Ok(Self::of(event, key))
    }

    /// The ids by which it is looked up: of its trace, its task, and the task whose aggregate it names.
    pub(crate) fn named_ids(&self) -> impl Iterator<Item = Uuid> + use<> {
        let named = self.aggregate_id.as_deref().and_then(task_of);
        [Some(self.trace_id), self.task_id, named].into_iter().flatten()
    }

    fn of(event: Event, key: Option<EventKey>) -> Self {
        let text = event.payload.to_string();
        let (event, payload) = if text.len() > MAX_PAYLOAD_BYTES {
            let cut = event.with_bounded_payload();
            let text = cut.payload.to_string();
            (cut, text)
        } else {
            (event, text)
        };
        let implied = event.task_id.map(|t| format!("task:{t}"));
        Self {
            id: event.id,
            trace_id: event.trace_id.as_uuid(),
            task_id: event.task_id,
            agent_id: event.agent_id,
            event_type: event.event_type,
            event_version: event.event_version,
            payload,
            aggregate_id: event.aggregate_id.filter(|a| Some(a) != implied.as_ref()),
            idempotency_key: event.idempotency_key,
            key,
            occurred_at: event.occurred_at,
            content: event.content,
        }
    }
}
