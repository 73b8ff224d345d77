//! What every adapter refuses, so that code that works beside one works beside the other.

use std::time::Duration;

use mesh_six_core::names;
use serde_json::value::{RawValue, to_raw_value};

use crate::{
    cloud_event::CloudEvent,
    port::{Message, SidecarError},
};

/// Largest envelope. The services keep to [`names::MAX_MESSAGE_BYTES`] for what they carry; this leaves room for
/// what they put around it.
pub(crate) const MAX_ENVELOPE_BYTES: usize = 2 * names::MAX_MESSAGE_BYTES;

/// Largest answer to a request, that of Dapr.
pub(crate) const MAX_ANSWER_BYTES: usize = 4 * 1024 * 1024;

/// The envelope of `message`, published by `source` through the component `pubsub`. A message needs an id, for it
/// is known by it, and a topic; and an envelope must not be larger than a broker takes.
pub(crate) fn envelope(source: &str, pubsub: &str, message: Message) -> Result<Box<RawValue>, SidecarError> {
    for (name, text) in [("id", &message.id), ("topic", &message.topic)] {
        if text.is_empty() {
            return Err(refused(400, format!("the message's {name} is empty")));
        }
    }
    let event = CloudEvent { pubsubname: Some(pubsub.to_owned()), ..CloudEvent::wrap(source, message) };
    let envelope = to_raw_value(&event).map_err(|error| refused(400, error.to_string()))?;
    if envelope.get().len() > MAX_ENVELOPE_BYTES {
        return Err(refused(413, format!("a message has at most {MAX_ENVELOPE_BYTES} bytes with its envelope")));
    }
    Ok(envelope)
}

/// Dapr puts its prefix before a key with `||`, and refuses it inside; one or two dots would be a step in the path.
pub(crate) fn check_key(key: &str) -> Result<(), SidecarError> {
    if matches!(key, "" | "." | "..") || key.contains("||") {
        return Err(refused(400, "a key is not empty, not one or two dots, and does not contain ||".to_owned()));
    }
    Ok(())
}

/// Rounded up: a value never vanishes before its time.
pub(crate) fn whole_seconds(ttl: Duration) -> Duration {
    Duration::from_secs(ttl.as_secs().saturating_add(u64::from(ttl.subsec_nanos() > 0))).max(Duration::from_secs(1))
}

/// A request that can never succeed.
pub(crate) fn refused(status: u16, message: String) -> SidecarError {
    SidecarError::Refused { status, message }
}
