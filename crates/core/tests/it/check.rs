//! What an event must be like, and what a cut leaves of a large one.

use chrono::{DateTime, Duration};
use mesh_six_core::{
    Event, Validate,
    event::{Content, EventFilter, check::MAX_PAYLOAD_BYTES},
};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::support::{now, request, task_id, trace_id};

fn event(change: impl FnOnce(&mut Event)) -> Event {
    let mut event = Event::new("custom.fact", "agent", trace_id(), json!({})).of_task(task_id()).at(now());
    change(&mut event);
    event
}

#[test]
fn each_refusal_names_its_field() {
    type Change = Box<dyn FnOnce(&mut Event)>;
    let table: Vec<(&str, Change)> = vec![
        ("eventType", Box::new(|e| e.event_type = "ab".to_owned())),
        ("eventType", Box::new(|e| e.event_type = "Upper.case".to_owned())),
        ("eventType", Box::new(|e| e.event_type = "1abc".to_owned())),
        ("eventType", Box::new(|e| e.event_type = "a".repeat(65))),
        ("eventType", Box::new(|e| e.event_type = "naïve.fact".to_owned())),
        ("eventVersion", Box::new(|e| e.event_version = 0)),
        ("eventVersion", Box::new(|e| (e.event_type, e.event_version) = ("task.result".to_owned(), 2))),
        ("agentId", Box::new(|e| e.agent_id = String::new())),
        ("agentId", Box::new(|e| e.agent_id = "a".repeat(129))),
        ("aggregateId", Box::new(|e| e.aggregate_id = Some("a\0".to_owned()))),
        ("aggregateId", Box::new(|e| e.aggregate_id = Some(String::new()))),
        ("idempotencyKey", Box::new(|e| e.idempotency_key = Some("k".repeat(513)))),
        ("idempotencyKey", Box::new(|e| e.idempotency_key = Some("end:x".to_owned()))),
        ("payload", Box::new(|e| e.payload = json!({"deep": [{"a\0": 1}]}))),
        ("occurredAt", Box::new(|e| e.occurred_at = now() + Duration::hours(24) + Duration::microseconds(1))),
        ("occurredAt", Box::new(|e| e.occurred_at = "1969-12-31T23:59:59Z".parse().unwrap())),
    ];
    for (field, change) in table {
        let event = event(change);
        let error = event.check(now()).unwrap_err();
        assert_eq!(error.field.as_deref(), Some(field), "{event:?}");
    }
}

#[test]
fn what_is_within_the_bounds_passes() {
    assert_eq!(event(|_| ()).check(now()).unwrap(), None);
    assert!(event(|e| e.occurred_at = now() + Duration::hours(24)).check(now()).is_ok());
    assert!(event(|e| e.event_version = 9).check(now()).is_ok(), "versions of unknown types are their owner's");
    let keyed = event(|e| e.idempotency_key = Some(format!("end:{}", task_id())));
    assert_eq!(keyed.check(now()).unwrap().unwrap().bucket, 202_611);
}

#[test]
fn a_nul_from_a_model_does_not_cost_the_fact() {
    let event = Event::new("custom.fact", "agent", trace_id(), json!({"error": "a\0b"}));
    assert_eq!(event.payload["error"], "a\u{fffd}b");
    let content = Content { kind: "response", user_id: None, text: "x\0y".to_owned() };
    let event = event.with_content(content);
    assert_eq!(
        (event.content.as_ref().unwrap().text.as_str(), &event.payload["contentLength"]),
        ("x\u{fffd}y", &json!(3))
    );
    assert!(event.validate().is_ok());
    assert!(!serde_json::to_string(&event).unwrap().contains("x\u{fffd}y"), "content is never on the wire");
}

#[test]
fn a_cut_payload_keeps_its_small_facts() {
    let scores = vec![json!({"agentId": "x".repeat(100)}); 1_000];
    let event = event(|e| e.payload = json!({"attempt": 2, "targetAgent": "a", "scores": scores, "truncated": "no"}));
    let length = event.payload.to_string().len();
    let cut = event.with_bounded_payload().payload;
    assert_eq!((&cut["attempt"], &cut["targetAgent"], &cut["scores"]), (&json!(2), &json!("a"), &Value::Null));
    assert_eq!((&cut["truncated"], &cut["originalLength"]), (&json!(true), &json!(length)));
}

#[test]
fn a_payload_of_just_the_limit_is_left_alone() {
    let fits = event(|e| e.payload = json!("x".repeat(MAX_PAYLOAD_BYTES - 2)));
    assert_eq!(fits.clone().with_bounded_payload(), fits);
    let over = event(|e| e.payload = json!("x".repeat(MAX_PAYLOAD_BYTES - 1)));
    assert_eq!(over.with_bounded_payload().payload["originalLength"], MAX_PAYLOAD_BYTES + 1);
}

#[test]
fn filters_name_what_is_wrong() {
    let filter = EventFilter { limit: Some(1_001), ..EventFilter::default() };
    assert_eq!(filter.validate().unwrap_err().field.as_deref(), Some("limit"));
    let some = |text: &str| Some(text.to_owned());
    let now = mesh_six_core::time::now();
    for (filter, field) in [
        (EventFilter { agent_id: some("\0"), ..EventFilter::default() }, "agentId"),
        (EventFilter { agent_id: some(""), ..EventFilter::default() }, "agentId"),
        (EventFilter { aggregate_id: some(&"x".repeat(513)), ..EventFilter::default() }, "aggregateId"),
        (EventFilter { event_type: some("LLM response"), ..EventFilter::default() }, "eventType"),
        (EventFilter { since: Some(now), until: Some(DateTime::UNIX_EPOCH), ..EventFilter::default() }, "since"),
    ] {
        assert_eq!(filter.validate().unwrap_err().field.as_deref(), Some(field));
    }
    let instant = EventFilter { since: Some(now), until: Some(now), ..EventFilter::default() };
    assert_eq!(instant.validate(), Ok(()));
    assert_eq!(EventFilter::default().limit(), 100);
    assert!(serde_json::to_string(&request()).unwrap().contains("2026-11-23T04:43:04.000001Z"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn a_cut_is_small_and_tells_the_length(texts in prop::collection::vec(("[a-zé\"\\\\😀]{1,8}", 1..4_000_usize, "[é\"\\\\😀x]"), 1..60)) {
        let payload: Value = texts.into_iter().map(|(name, times, unit)| (name, json!(unit.repeat(times)))).collect::<serde_json::Map<_, _>>().into();
        let length = payload.to_string().len();
        let cut = event(|e| e.payload = payload.clone()).with_bounded_payload().payload;
        prop_assert!(cut.to_string().len() <= MAX_PAYLOAD_BYTES);
        if length > MAX_PAYLOAD_BYTES {
            prop_assert_eq!(&cut["originalLength"], length);
            prop_assert!(payload.to_string().starts_with(cut["beginning"].as_str().unwrap()));
        } else {
            prop_assert_eq!(cut, payload);
        }
    }
}
