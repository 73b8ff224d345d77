//! What every adapter refuses, so that code that works beside one works beside the other.

use std::{collections::BTreeMap, time::Duration};

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
    bounded(to_raw_value(&event))
}

/// The envelope in `bytes` for another publish to `topic`: where it goes is set, all else stays as it was, members
/// that we do not know too. Beside it the event, for what an adapter must know of it.
pub(crate) fn same_envelope(
    bytes: &[u8],
    topic: &str,
    pubsub: &str,
) -> Result<(Box<RawValue>, CloudEvent), SidecarError> {
    if topic.is_empty() {
        return Err(refused(400, "the message's topic is empty".to_owned()));
    }
    let no_event = |why: String| refused(400, format!("the bytes are no CloudEvent: {why}"));
    let event = CloudEvent::from_slice(bytes).map_err(|error| match error.field {
        Some(field) => no_event(format!("{field}: {}", error.message)),
        None => no_event(error.message),
    })?;
    let mut members: BTreeMap<String, Box<RawValue>> =
        serde_json::from_slice(bytes).map_err(|error| no_event(error.to_string()))?;
    for (name, text) in [("topic", topic), ("pubsubname", pubsub)] {
        members.insert(name.to_owned(), to_raw_value(text).map_err(|error| refused(400, error.to_string()))?);
    }
    Ok((bounded(to_raw_value(&members))?, event))
}

fn bounded(envelope: serde_json::Result<Box<RawValue>>) -> Result<Box<RawValue>, SidecarError> {
    let envelope = envelope.map_err(|error| refused(400, error.to_string()))?;
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

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test that cannot go on should fail there")]
mod tests {
    use super::*;

    #[test]
    fn an_envelope_that_is_sent_again_keeps_all_but_where_it_goes() {
        let bytes = br#" {"source":"x", "data":{"b": 1.50, "a":12345678901234567890123}, "id":"7","other":[null],
            "topic":"elsewhere","time":"2026-01-01T00:00:00.123456789Z"} "#;
        let (envelope, event) = same_envelope(bytes, "t", "p").unwrap();
        assert_eq!(
            envelope.get(),
            r#"{"data":{"b": 1.50, "a":12345678901234567890123},"id":"7","other":[null],"pubsubname":"p","source":"x","time":"2026-01-01T00:00:00.123456789Z","topic":"t"}"#
        );
        assert_eq!((event.id.as_str(), event.source.as_str()), ("7", "x"));
    }

    #[test]
    fn what_is_no_event_or_too_large_is_not_sent_again() {
        let large = format!(r#"{{"id":"1","source":"x","data":"{}"}}"#, "x".repeat(MAX_ENVELOPE_BYTES));
        for (bytes, topic, status) in [
            (&b"no JSON"[..], "t", 400),
            (b"", "t", 400),
            (br#"[{"id":"1","source":"x"}]"#, "t", 400),
            (br#"{"id":"1"}"#, "t", 400),
            (br#"{"id":"1","source":"x"}"#, "", 400),
            (br#"{"id":"1","id":"2","source":"x"}"#, "t", 400),
            (large.as_bytes(), "t", 413),
        ] {
            let error = same_envelope(bytes, topic, "p").unwrap_err();
            assert!(matches!(error, SidecarError::Refused { status: s, .. } if s == status), "{error}");
        }
    }
}
