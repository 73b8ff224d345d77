//! What a handler is given, and what a handler is.

use std::collections::BTreeMap;

use async_trait::async_trait;
use bytes::Bytes;
use mesh_six_core::{ApiError, TraceId, task::hex};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::{
    bulk::Status,
    cloud_event::{CloudEvent, EVENT_TYPE},
};

/// Entry metadata by which the local mesh tells whose subscription dropped a dead letter. Dapr does not tell.
pub const ORIGIN_APP_ID: &str = "originAppId";
/// Entry metadata by which the local mesh tells from which topic a dead letter comes.
pub const ORIGIN_TOPIC: &str = "originTopic";

/// The source of an event whose bytes tell none.
pub const UNKNOWN_SOURCE: &str = "unknown";

/// One message, delivered.
#[derive(Clone, Debug, PartialEq)]
pub struct Delivery {
    /// Of this delivery; random, so useless for deduplication: use [`CloudEvent::source`] and `id`.
    pub entry_id: String,
    /// Topic of the subscription.
    pub topic: String,
    /// The event. If the bytes are no event ([`Self::wrapped`]), what could be made out of them: the fields
    /// that are there, else the SHA-256 of the bytes as id, so that a redelivery has the same one.
    pub event: CloudEvent,
    /// The event's bytes exactly as they came.
    pub bytes: Bytes,
    /// The bytes are not an event, and `event` was made up around them.
    pub wrapped: bool,
    /// The event's own valid `traceparent`; that of the request is of no use, because a batch has only one.
    pub traceparent: Option<String>,
    /// Metadata of the entry.
    pub metadata: BTreeMap<String, String>,
}

impl Delivery {
    /// The trace this message belongs to.
    pub fn trace_id(&self) -> Option<TraceId> {
        self.traceparent.as_deref().and_then(TraceId::from_traceparent)
    }

    /// Of a dead letter, the topic it was dropped from: told by the local mesh in the metadata, beside Dapr by
    /// the envelope, which is forwarded as it is.
    pub fn origin_topic(&self) -> &str {
        self.metadata.get(ORIGIN_TOPIC).or(self.event.topic.as_ref()).unwrap_or(&self.topic)
    }

    /// Of a dead letter, the app whose subscription dropped it; only the local mesh tells.
    pub fn origin_app_id(&self) -> Option<&str> {
        self.metadata.get(ORIGIN_APP_ID).map(String::as_str)
    }
}

/// What a service does with the messages of one subscription. It accepts and answers within milliseconds and
/// never works, because the batches of a subscription come one after the other (messaging.md §1).
#[async_trait]
pub trait BulkHandler: Send + Sync + 'static {
    /// Takes a batch and answers each in order; an answer that is missing counts as RETRY. Whoever
    /// refuses one stores it with the reason first (BURIED), and answers DROP only where that can never be. A batch may come again in parts: after a panic it is cut in halves
    /// until the entry that causes it is alone.
    async fn handle(&self, deliveries: Vec<Delivery>) -> Vec<Status>;

    /// [`Self::handle`] panicked on this message alone, so it is refused. Stores it with the reason, and says what the
    /// sidecar is answered: BURIED; DROP where it can never be stored; RETRY where the infrastructure is away, then it
    /// is delivered again.
    async fn dropped(&self, delivery: &Delivery, reason: &str) -> Status;

    /// The message is malformed, so it is refused without having been handled. As [`Self::dropped`].
    async fn rejected(&self, delivery: &Delivery, error: &ApiError) -> Status {
        let place = error.field.as_deref().unwrap_or("body");
        self.dropped(delivery, &format!("{place}: {}", error.message)).await
    }
}

/// An event made up around bytes that are none.
pub(crate) fn wrap_bytes(bytes: &[u8], topic: &str) -> CloudEvent {
    let json: Value = serde_json::from_slice(bytes).unwrap_or_default();
    let text = |name: &str| json.get(name).and_then(Value::as_str).filter(|t| !t.is_empty()).map(str::to_owned);
    CloudEvent {
        id: text("id").unwrap_or_else(|| hex(&Sha256::digest(bytes))),
        source: text("source").unwrap_or_else(|| UNKNOWN_SOURCE.to_owned()),
        event_type: text("type").unwrap_or_else(|| EVENT_TYPE.to_owned()),
        specversion: "1.0".to_owned(),
        datacontenttype: text("datacontenttype"),
        data: json.get("data").cloned().unwrap_or_default(),
        data_base64: None,
        topic: text("topic").or_else(|| Some(topic.to_owned())),
        pubsubname: text("pubsubname"),
        traceid: text("traceid"),
        traceparent: text("traceparent"),
        tracestate: None,
        time: None,
        subject: None,
        expiration: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_that_are_no_event_get_their_hash_as_id() {
        let event = wrap_bytes(b"\xff\x00 no json", "dead-letter");
        assert_eq!(event.id.len(), 64);
        assert_eq!(event, wrap_bytes(b"\xff\x00 no json", "dead-letter"));
        assert_ne!(event.id, wrap_bytes(b"other", "dead-letter").id);
        assert_eq!((event.source.as_str(), event.topic.as_deref()), (UNKNOWN_SOURCE, Some("dead-letter")));
    }

    #[test]
    fn what_the_bytes_tell_is_kept() {
        let event = wrap_bytes(br#"{"id":"i","source":7,"topic":"t","data":[1]}"#, "dead-letter");
        assert_eq!((event.id.as_str(), event.source.as_str()), ("i", UNKNOWN_SOURCE));
        assert_eq!((event.topic.as_deref(), event.data), (Some("t"), serde_json::json!([1])));
    }
}
