//! Wire types of programmatic subscription and of bulk delivery (platform-facts.md).

use std::{borrow::Cow, collections::BTreeMap};

use mesh_six_core::{ApiError, Validate, names};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

/// What a handler says about one message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Status {
    /// Done for good.
    Success,
    /// The infrastructure is away: deliver it again later.
    Retry,
    /// It can never succeed, and nobody else has kept it: the sidecar puts it into the dead letters.
    Drop,
    /// It can never succeed, and is in the table of dead letters with its reason: nothing is left for the sidecar to do.
    #[serde(skip)]
    Buried,
}

impl Status {
    /// The name as a label of metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Retry => "retry",
            Self::Drop | Self::Buried => "drop",
        }
    }
}

/// One row of the answer to `GET /dapr/subscribe`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Subscription {
    /// Pub/sub component.
    pub pubsubname: String,
    /// Topic.
    pub topic: String,
    /// Path that deliveries are posted to; one of its own for each subscription of an app.
    pub route: String,
    /// Where a dropped message goes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dead_letter_topic: Option<String>,
    /// Metadata for the component; `rawPayload` is `"true"` for messages without an envelope.
    #[serde(default, deserialize_with = "null_is_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: BTreeMap<String, String>,
    /// How messages are put together.
    #[serde(default)]
    pub bulk_subscribe: BulkSubscribe,
}

/// How messages are put together into one delivery.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct BulkSubscribe {
    /// Whether they are at all; every subscription of ours is bulk (dapr-measured.md §1).
    pub enabled: bool,
    /// Most messages in a delivery.
    pub max_messages_count: usize,
    /// Longest wait for more messages, in milliseconds.
    pub max_await_duration_ms: u64,
}

impl Subscription {
    /// A bulk subscription whose dropped messages go to the `dead-letter` topic.
    pub fn bulk(pubsubname: &str, topic: &str, route: &str, max_messages: usize, max_await_ms: u64) -> Self {
        Self {
            pubsubname: pubsubname.to_owned(),
            topic: topic.to_owned(),
            route: route.to_owned(),
            dead_letter_topic: Some(names::DEAD_LETTER.to_owned()),
            metadata: BTreeMap::new(),
            bulk_subscribe: BulkSubscribe {
                enabled: true,
                max_messages_count: max_messages,
                max_await_duration_ms: max_await_ms,
            },
        }
    }

    /// The same for messages that are bytes without an envelope, such as dead letters. It has no dead-letter
    /// topic: a dead letter that is dropped would otherwise come back for ever.
    #[must_use]
    pub fn raw_payload(mut self) -> Self {
        self.metadata.insert("rawPayload".to_owned(), "true".to_owned());
        self.dead_letter_topic = None;
        self
    }

    /// Whether messages come as bytes without an envelope.
    pub fn is_raw(&self) -> bool {
        self.metadata.get("rawPayload").is_some_and(|v| v.eq_ignore_ascii_case("true"))
    }
}

/// The body of a bulk delivery.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct BulkRequest<'a> {
    /// Of this delivery, random.
    #[serde(default)]
    pub id: String,
    /// `com.dapr.event.sent.bulk`.
    #[serde(rename = "type", default)]
    pub kind: String,
    /// Topic of the subscription.
    #[serde(default)]
    pub topic: String,
    /// Component of the subscription.
    #[serde(default)]
    pub pubsubname: String,
    /// Metadata of the delivery.
    #[serde(default, deserialize_with = "null_is_default")]
    pub metadata: BTreeMap<String, String>,
    /// The messages.
    pub entries: Vec<BulkEntry<'a>>,
}

/// One message of a bulk delivery.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BulkEntry<'a> {
    /// Names the entry in the answer; random for each delivery.
    pub entry_id: String,
    /// The envelope, unparsed so that a broken one fails alone; a base64 text with rawPayload.
    pub event: Cow<'a, RawValue>,
    /// Metadata of the message.
    #[serde(default, deserialize_with = "null_is_default")]
    pub metadata: BTreeMap<String, String>,
    /// Media type of `event`.
    #[serde(default, deserialize_with = "null_is_default")]
    pub content_type: String,
}

impl Validate for BulkRequest<'_> {
    fn validate(&self) -> Result<(), ApiError> {
        match self.entries.iter().position(|entry| entry.entry_id.is_empty()) {
            Some(index) => Err(ApiError::validation(format!("entries[{index}].entryId"), "must not be empty")),
            None => Ok(()),
        }
    }
}

/// The answer to a bulk delivery.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BulkAnswer {
    /// One status for each entry.
    pub statuses: Vec<EntryStatus>,
}

/// The status of one entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EntryStatus {
    /// Which entry.
    pub entry_id: String,
    /// What became of it.
    pub status: Status,
    /// It was refused and is in the table of dead letters. Sidecars do not read this.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub buried: bool,
}

impl EntryStatus {
    /// What the sidecar is told. Of a batch Dapr 1.18 must not be told to drop what it need not keep: it looks for the
    /// message at the place that it had before those were taken out that are no JSON or were answered already. So it
    /// would forward another one, or end itself where there is none.
    pub fn new(entry_id: String, status: Status) -> Self {
        match status {
            Status::Buried => Self { entry_id, status: Status::Success, buried: true },
            status => Self { entry_id, status, buried: false },
        }
    }
}

/// The answer to a delivery of one message alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SingleAnswer {
    /// What became of it.
    pub status: Status,
}

impl SingleAnswer {
    /// What the sidecar is told.
    pub fn new(status: Status) -> Self {
        Self { status: if status == Status::Buried { Status::Drop } else { status } }
    }
}

/// Go writes `null` for an empty map.
fn null_is_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(from: D) -> Result<T, D::Error> {
    Ok(Option::<T>::deserialize(from)?.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used)]

    use mesh_six_core::parse_json;
    use serde_json::json;

    use super::*;

    #[test]
    fn a_subscription_has_the_names_that_dapr_reads() {
        insta::assert_json_snapshot!([
            Subscription::bulk("agent-pubsub", "task-results", "/results", 100, 10),
            Subscription::bulk("events-dead", "dead-letter", "/dead", 100, 20).raw_payload(),
        ]);
    }

    #[test]
    fn a_bulk_request_keeps_the_bytes_of_an_event_and_survives_an_event_it_cannot_read() {
        let deep = format!("{}{}", "[".repeat(500), "]".repeat(500));
        let body = format!(
            r#"{{"id":"x","type":"t","topic":"a","pubsubname":"p","metadata":null,"entries":[
                {{"entryId":"1","event":{{"b": 1.50,  "a":1}},"metadata":null,"contentType":"c"}},
                {{"entryId":"2","event":{deep}}},{{"entryId":"3","event":1e999}}]}}"#
        );
        let request: BulkRequest = parse_json(body.as_bytes()).unwrap();
        assert_eq!(request.entries[0].event.get(), r#"{"b": 1.50,  "a":1}"#);
        assert_eq!(request.entries[1].event.get(), deep);
        assert_eq!(request.entries[2].event.get(), "1e999");
    }

    #[test]
    fn a_bulk_request_that_is_wrong_names_the_field() {
        for (body, field) in [
            (json!({"entries": [{"event": {}}]}), "entries[0].entryId"),
            (json!({"entries": [{"entryId": "", "event": {}}]}), "entries[0].entryId"),
            (json!({"entries": [{"entryId": "1"}]}), "entries[0].event"),
            (json!({"entries": {}}), "entries"),
        ] {
            let error = parse_json::<BulkRequest>(body.to_string().as_bytes()).unwrap_err();
            assert_eq!(error.field.as_deref(), Some(field), "{body}");
        }
    }
}
