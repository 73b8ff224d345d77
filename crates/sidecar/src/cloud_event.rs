//! The `CloudEvents` 1.0 envelope as Dapr makes it.

use chrono::{DateTime, Utc};
use mesh_six_core::{ApiError, TraceId, Validate, names, parse_json, time};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::port::Message;

/// The type of an event that Dapr wrapped.
pub const EVENT_TYPE: &str = "com.dapr.event.sent";

/// An event in its envelope. Unknown fields are ignored when read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CloudEvent {
    /// Unique together with `source`: what consumers deduplicate by.
    pub id: String,
    /// The publisher's app-id.
    pub source: String,
    /// What kind of event; Dapr's own unless the publisher chose another.
    #[serde(rename = "type", default = "event_type")]
    pub event_type: String,
    /// Version of the specification.
    #[serde(default = "specversion")]
    pub specversion: String,
    /// Media type of the content.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub datacontenttype: Option<String>,
    /// The content; null if there is none or if it is in `data_base64`.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub data: Value,
    /// Binary content.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data_base64: Option<String>,
    /// The topic it was published to; in a dead letter still the original one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topic: Option<String>,
    /// The publisher's pub/sub component.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pubsubname: Option<String>,
    /// Despite its name the whole W3C `traceparent`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traceid: Option<String>,
    /// W3C `traceparent`; Dapr writes an empty text for none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<String>,
    /// W3C `tracestate`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tracestate: Option<String>,
    /// When it was published.
    #[serde(default, with = "time::micros_option", skip_serializing_if = "Option::is_none")]
    pub time: Option<DateTime<Utc>>,
    /// What within the source it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// When it becomes worthless.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expiration: Option<String>,
}

impl CloudEvent {
    /// The envelope of `message`, published by `source`.
    pub fn wrap(source: &str, message: Message) -> Self {
        Self {
            id: message.id,
            source: source.to_owned(),
            event_type: event_type(),
            specversion: specversion(),
            datacontenttype: Some("application/json".to_owned()),
            data: message.data,
            data_base64: None,
            topic: Some(message.topic),
            pubsubname: Some(names::PUBSUB.to_owned()),
            traceid: message.traceparent.clone(),
            traceparent: message.traceparent,
            tracestate: None,
            time: Some(time::truncate(message.time)),
            subject: None,
            expiration: None,
        }
    }

    /// Reads an envelope; the error names the offending field.
    pub fn from_slice(bytes: &[u8]) -> Result<Self, ApiError> {
        // A list would pass as the fields in their order.
        if bytes.trim_ascii_start().first() == Some(&b'[') {
            return Err(ApiError::validation("body", "an event is an object"));
        }
        parse_json(bytes)
    }

    /// The W3C `traceparent` of this event, if it has a valid one.
    pub fn trace_parent(&self) -> Option<&str> {
        [&self.traceparent, &self.traceid]
            .into_iter()
            .filter_map(Option::as_deref)
            .find(|text| TraceId::from_traceparent(text).is_some())
    }
}

impl Validate for CloudEvent {
    fn validate(&self) -> Result<(), ApiError> {
        for (field, text) in [("id", &self.id), ("source", &self.source)] {
            if text.is_empty() {
                return Err(ApiError::validation(field, "must not be empty"));
            }
        }
        Ok(())
    }
}

fn event_type() -> String {
    EVENT_TYPE.to_owned()
}

fn specversion() -> String {
    "1.0".to_owned()
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used)]

    use serde_json::json;

    use super::*;

    const TRACEPARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    /// What daprd 1.18 sends, with a field of a later version.
    fn from_dapr() -> Value {
        json!({
            "id": "0190", "source": "orchestrator", "type": "com.dapr.event.sent", "specversion": "1.0",
            "datacontenttype": "application/json", "data": {"taskId": "t"}, "topic": "task-results",
            "pubsubname": "agent-pubsub", "traceid": TRACEPARENT, "traceparent": TRACEPARENT, "tracestate": "",
            "time": "2026-11-23T04:43:04Z", "somethingnew": 1
        })
    }

    fn read(value: &Value) -> Result<CloudEvent, ApiError> {
        CloudEvent::from_slice(value.to_string().as_bytes())
    }

    #[test]
    fn reads_what_dapr_writes_and_ignores_what_it_does_not_know() {
        let event = read(&from_dapr()).unwrap();
        assert_eq!((event.id.as_str(), event.source.as_str()), ("0190", "orchestrator"));
        assert_eq!(event.topic.as_deref(), Some("task-results"));
        assert_eq!(event.data, json!({"taskId": "t"}));
        assert_eq!(event.trace_parent(), Some(TRACEPARENT));
        assert_eq!(time::format(event.time.unwrap()), "2026-11-23T04:43:04.000000Z");
    }

    #[test]
    fn an_error_names_the_field() {
        for (field, value) in [
            ("id", Value::Null),
            ("id", json!("")),
            ("id", json!(7)),
            ("source", json!({})),
            ("source", json!("")),
            ("time", json!("yesterday")),
            ("type", json!(1)),
            ("data_base64", json!(["x"])),
        ] {
            let mut event = from_dapr();
            event[field] = value;
            assert_eq!(read(&event).unwrap_err().field.as_deref(), Some(field));
        }
        for field in ["id", "source"] {
            let mut event = from_dapr();
            event.as_object_mut().unwrap().remove(field);
            assert_eq!(read(&event).unwrap_err().field.as_deref(), Some(field));
        }
        assert_eq!(CloudEvent::from_slice(b"{").unwrap_err().field.as_deref(), Some("body"));
        assert_eq!(read(&json!(["id", "source"])).unwrap_err().field.as_deref(), Some("body"));
    }

    #[test]
    fn an_invalid_trace_is_no_trace_and_traceid_stands_in_for_traceparent() {
        let mut event = read(&from_dapr()).unwrap();
        event.traceparent = Some(String::new());
        assert_eq!(event.trace_parent(), Some(TRACEPARENT));
        event.traceid = Some("x".to_owned());
        assert_eq!(event.trace_parent(), None);
    }

    #[test]
    fn a_wrapped_message_reads_back_as_the_same_event() {
        let message = Message {
            id: "i".to_owned(),
            topic: "t".to_owned(),
            time: time::now(),
            traceparent: Some(TRACEPARENT.to_owned()),
            data: json!({"a": [1, 0.1]}),
        };
        let event = CloudEvent::wrap("app", message);
        assert_eq!(CloudEvent::from_slice(&serde_json::to_vec(&event).unwrap()).unwrap(), event);
    }
}
