//! Events: the rows of the log before and after they are written (events.md §1).

pub mod catalogue;
pub mod check;
pub mod filter;
pub mod key;
pub mod payload;
pub mod position;
mod read;
pub mod replay;
mod schema;
pub mod spans;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::{TraceId, hash::hex, id::new_id, text::without_nul, time};
pub use filter::{EventFilter, MAX_LIMIT};
pub use key::EventKey;
pub use position::Position;
pub use schema::schema;

/// An event that is to be written. Its order, transaction and recording time come from the database.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Event {
    /// A `UUIDv7`.
    #[serde(default = "new_id")]
    pub id: Uuid,
    /// The W3C trace id.
    pub trace_id: TraceId,
    /// The task it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task_id: Option<Uuid>,
    /// Who reports it.
    pub agent_id: String,
    /// `[a-z][a-z0-9_.]{2,63}`; [`catalogue`] has the known ones.
    pub event_type: String,
    /// Version of the payload's form.
    #[serde(default = "first_version")]
    pub event_version: i32,
    /// What happened; at most 64 KiB, then cut with a marker.
    pub payload: Value,
    /// What it happened to, where that is not `task:{taskId}`, which is implied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub aggregate_id: Option<String>,
    /// At most one event of a key is kept, whatever the time, partition or process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idempotency_key: Option<String>,
    /// When it happened, by the producer's clock.
    #[serde(with = "time::micros", default = "time::now")]
    #[schemars(with = "DateTime<Utc>")]
    pub occurred_at: DateTime<Utc>,
    /// Content that the operator opted in to keep. It never goes into the log itself nor over the wire, but
    /// into `event_contents` beside it; [`Event::with_content`] puts its length and hash into the payload.
    #[serde(skip)]
    pub content: Option<Content>,
}

/// Text kept beside the log, deletable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Content {
    /// What it is: `prompt`, `response`, ...
    pub kind: &'static str,
    /// Whose it is, for erasure by user.
    pub user_id: Option<String>,
    /// The text.
    pub text: String,
}

const fn first_version() -> i32 {
    1
}

impl Event {
    /// An event of version 1 that happens now and has no key. U+0000 in the payload, which PostgreSQL cannot
    /// keep, is replaced: what a model or tool said must not cost us the fact.
    pub fn new(event_type: &str, agent_id: &str, trace_id: TraceId, payload: Value) -> Self {
        Self {
            id: new_id(),
            trace_id,
            task_id: None,
            agent_id: agent_id.to_owned(),
            event_type: event_type.to_owned(),
            event_version: 1,
            payload: without_nul(payload),
            aggregate_id: None,
            idempotency_key: None,
            occurred_at: time::now(),
            content: None,
        }
    }

    /// With content beside the log; its length in characters and its SHA-256 go into the payload.
    #[must_use]
    pub fn with_content(mut self, mut content: Content) -> Self {
        if content.text.contains('\0') {
            content.text = content.text.replace('\0', "\u{fffd}");
        }
        if let Value::Object(payload) = &mut self.payload {
            payload.insert("contentLength".to_owned(), content.text.chars().count().into());
            payload.insert("contentSha256".to_owned(), hex(&Sha256::digest(content.text.as_bytes())).into());
        }
        self.content = Some(content);
        self
    }

    /// With what the message gave as its trace id, where that was invalid and has been replaced: into the payload, as
    /// `foreignTraceId`.
    #[must_use]
    pub fn with_foreign_trace(mut self, told: Option<String>) -> Self {
        if let (Value::Object(payload), Some(told)) = (&mut self.payload, told) {
            payload.insert("foreignTraceId".to_owned(), told.into());
        }
        self
    }

    /// Of `task`, whose aggregate is implied.
    #[must_use]
    pub fn of_task(mut self, task: Uuid) -> Self {
        self.task_id = Some(task);
        self
    }

    /// With a key, so that it is written at most once.
    #[must_use]
    pub fn keyed(mut self, key: impl Into<String>) -> Self {
        self.idempotency_key = Some(key.into());
        self
    }

    /// Happened at `time`.
    #[must_use]
    pub fn at(mut self, time: DateTime<Utc>) -> Self {
        self.occurred_at = time::truncate(time);
        self
    }
}

/// An event as the log has it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StoredEvent {
    /// Order within one writer.
    pub seq: i64,
    /// The writing transaction.
    pub txid: i64,
    /// When it was recorded, by the database's clock.
    #[serde(with = "time::micros")]
    #[schemars(with = "DateTime<Utc>")]
    pub timestamp: DateTime<Utc>,
    /// Opaque: reading on from here gives the events after this one.
    pub position: Position,
    /// The event.
    #[serde(flatten)]
    pub event: Event,
}

impl StoredEvent {
    /// What it happened to: the aggregate, or the task's implied one.
    pub fn aggregate(&self) -> Option<String> {
        self.event.aggregate_id.clone().or_else(|| self.event.task_id.map(|t| format!("task:{t}")))
    }
}
