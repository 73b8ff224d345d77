//! Content whose `traceId` can be relied on: a foreign agent's odd one must not cost the fact (events.md §1).

use mesh_six_core::{TraceId, task::hex, text::shortened};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::delivery::Delivery;

/// Of an invalid trace id this much is kept, in bytes.
const KEPT_BYTES: usize = 128;

impl Delivery {
    /// The content with a valid `traceId`: its own, else the envelope's, else the id of its task, else one made of
    /// the message's id; the same in each redelivery. Beside it, what an invalid text said, as far as it may be kept.
    pub fn content_with_trace(&self) -> (Value, Option<String>) {
        let mut data = self.event.data.clone();
        let Value::Object(members) = &mut data else { return (data, None) };
        let told = members.get("traceId").and_then(Value::as_str);
        if told.is_some_and(|text| text.parse::<TraceId>().is_ok()) {
            return (data, None);
        }
        let foreign = told.filter(|text| !text.is_empty()).map(kept);
        let task = members.get("taskId").and_then(Value::as_str).and_then(|id| id.parse().ok());
        let trace = self.trace_id().or(task).map_or_else(|| of_message(&self.event.id), |trace| trace.to_string());
        members.insert("traceId".to_owned(), trace.into());
        (data, foreign)
    }
}

/// 16 bytes that are the same for the same message.
fn of_message(id: &str) -> String {
    hex(&Sha256::digest(id.as_bytes())[..16])
}

/// Bounded, and without what a terminal or PostgreSQL would not bear.
fn kept(text: &str) -> String {
    shortened(text, KEPT_BYTES).chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test that cannot go on should fail there")]

    use bytes::Bytes;
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::delivery::wrap_bytes;

    const TRACEPARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    const TASK: &str = "01a206f1-cc8b-7455-b34f-5bc9fe8106a1";

    fn delivery(data: &Value, traceparent: Option<&str>) -> Delivery {
        let event = wrap_bytes(json!({"id": "i", "source": "s", "data": data}).to_string().as_bytes(), "t");
        Delivery {
            entry_id: "1".to_owned(),
            topic: "t".to_owned(),
            event,
            bytes: Bytes::new(),
            wrapped: false,
            traceparent: traceparent.map(str::to_owned),
            metadata: std::collections::BTreeMap::new(),
        }
    }

    fn read(data: &Value, traceparent: Option<&str>) -> (String, Option<String>) {
        let (data, foreign) = delivery(data, traceparent).content_with_trace();
        (data["traceId"].as_str().unwrap().to_owned(), foreign)
    }

    #[test]
    fn a_valid_trace_stays_and_another_is_replaced_by_the_best_that_there_is() {
        let own = "0af7651916cd43dd8448eb211c80319c";
        let (of_envelope, of_task) = (&TRACEPARENT[3..35], TASK.replace('-', ""));
        assert_eq!(read(&json!({"traceId": own, "taskId": TASK}), Some(TRACEPARENT)), (own.to_owned(), None));
        for odd in [json!("abc"), json!("0".repeat(32))] {
            let foreign = odd.as_str().map(str::to_owned);
            let data = json!({"traceId": odd, "taskId": TASK});
            assert_eq!(read(&data, Some(TRACEPARENT)), (of_envelope.to_owned(), foreign.clone()));
            assert_eq!(read(&data, None), (of_task.clone(), foreign));
        }
        for odd in [json!(null), json!(7), json!({"a": 1}), json!("")] {
            assert_eq!(read(&json!({"traceId": odd, "taskId": TASK}), None), (of_task.clone(), None));
        }
        assert_eq!(read(&json!({"taskId": TASK}), None), (of_task, None));
        // Neither trace nor task: still one, and no other next time.
        let (made, _) = read(&json!({"taskId": "none"}), None);
        assert_eq!(made, "de7d1b721a1e0632b7cf04edf5032c8e");
    }

    #[test]
    fn what_is_no_object_stays_as_it_is() {
        for data in [json!([1]), json!("text"), json!(null)] {
            assert_eq!(delivery(&data, None).content_with_trace(), (data, None));
        }
    }

    proptest! {
        #[test]
        fn whatever_a_foreign_trace_is_the_same_valid_one_comes_out_and_little_is_kept(text in "(?s).{0,300}") {
            let data = json!({"traceId": text, "taskId": TASK, "else": 1});
            let first = delivery(&data, None).content_with_trace();
            prop_assert_eq!(&first, &delivery(&data, None).content_with_trace());
            let (content, foreign) = first;
            prop_assert!(content["traceId"].as_str().unwrap().parse::<TraceId>().is_ok());
            prop_assert_eq!((&content["taskId"], &content["else"]), (&json!(TASK), &json!(1)));
            let foreign = foreign.unwrap_or_default();
            prop_assert!(foreign.len() <= 3 * KEPT_BYTES + 3 && !foreign.contains(char::is_control));
        }
    }
}
