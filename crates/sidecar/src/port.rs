//! The port: all that a service may ask of its sidecar. Dapr and the local mesh are its two adapters.

use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use mesh_six_core::{ApiError, ErrorType};
use serde_json::Value;

/// A message to be published. Id and time come from the caller, so that a second publish is the same event.
#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    /// CloudEvent id; consumers deduplicate by source (the publisher's app-id) and id.
    pub id: String,
    /// Topic.
    pub topic: String,
    /// CloudEvent time.
    pub time: DateTime<Utc>,
    /// W3C `traceparent`, if the message belongs to a trace.
    pub traceparent: Option<String>,
    /// The content.
    pub data: Value,
}

/// A value of the state store with the `ETag` that a conditional write needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateEntry {
    /// The value.
    pub value: Value,
    /// Opaque version of the value.
    pub etag: String,
}

/// When a write to the state store may happen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Condition {
    /// Always: the last write wins.
    #[default]
    None,
    /// Only if the key does not exist.
    Absent,
    /// Only if the value still has this `ETag`.
    Match(String),
}

/// What went wrong at the sidecar.
#[derive(Clone, Debug, thiserror::Error)]
pub enum SidecarError {
    /// Cannot be reached, is overloaded, or did not answer in time: try again later.
    #[error("the sidecar is unavailable: {0}")]
    Unavailable(String),
    /// The `ETag` does not match, or the key exists already.
    #[error("the value was changed by somebody else")]
    Conflict,
    /// The request can never succeed.
    #[error("the sidecar refused the request with status {status}: {message}")]
    Refused {
        /// HTTP status.
        status: u16,
        /// What the sidecar said.
        message: String,
    },
}

impl SidecarError {
    /// Whether trying again may help.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Unavailable(_))
    }
}

impl From<SidecarError> for ApiError {
    fn from(error: SidecarError) -> Self {
        let kind = match error {
            SidecarError::Unavailable(_) => ErrorType::Unavailable,
            SidecarError::Conflict => ErrorType::Conflict,
            SidecarError::Refused { .. } => ErrorType::ApiError,
        };
        Self::new(kind, error.to_string())
    }
}

/// The answer of an invoked service.
#[derive(Clone, Debug, PartialEq)]
pub struct Invoked {
    /// HTTP status.
    pub status: u16,
    /// The body, null if it was empty or no JSON.
    pub body: Value,
}

/// The sidecar of one app-id.
#[async_trait]
pub trait Sidecar: Send + Sync + 'static {
    /// The app-id whose sidecar this is; the CloudEvent source of what it publishes.
    fn app_id(&self) -> &str;

    /// Publishes `message`. Returning is no proof of delivery (messaging.md §3); the local adapter returns only
    /// once every subscriber has answered SUCCESS or the message is a dead letter.
    async fn publish(&self, message: Message) -> Result<(), SidecarError>;

    /// Publishes `event`, the bytes of an envelope that was published before, to `topic` again: the same event with
    /// its own id, source, time and trace, for every subscriber. Bytes that are no event are refused, since they
    /// would become another one. Returning means what it means for [`Self::publish`].
    async fn republish(&self, topic: &str, event: &[u8]) -> Result<(), SidecarError>;

    /// Publishes several messages to the topics they name; one answer each, in order.
    async fn publish_bulk(&self, messages: Vec<Message>) -> Vec<Result<(), SidecarError>>;

    /// The value of `key`.
    async fn get_state(&self, key: &str) -> Result<Option<StateEntry>, SidecarError>;

    /// The values of `keys`, in order.
    async fn get_state_bulk(&self, keys: &[String]) -> Result<Vec<Option<StateEntry>>, SidecarError>;

    /// Writes `value`, which vanishes after `ttl` if one is given (whole seconds).
    async fn set_state(
        &self,
        key: &str,
        value: Value,
        condition: Condition,
        ttl: Option<Duration>,
    ) -> Result<(), SidecarError>;

    /// Deletes `key`; not an error if there is none.
    async fn delete_state(&self, key: &str) -> Result<(), SidecarError>;

    /// POSTs `body` to `path` of another service, by its app-id.
    async fn invoke(
        &self,
        app_id: &str,
        path: &str,
        body: Value,
        traceparent: Option<&str>,
        timeout: Duration,
    ) -> Result<Invoked, SidecarError>;

    /// Whether publishing, state and invocation work (`/v1.0/healthz/outbound`).
    async fn outbound_ready(&self) -> bool;

    /// Whether the app was found and its subscriptions are made (`/v1.0/healthz`). An agent registers only then.
    async fn subscribed(&self) -> bool;
}
