//! One bad message never blocks: it is dropped with a reason that names the field; the rest of its batch is stored.

use axum::http::StatusCode;
use mesh_six_core::{
    Event, TraceId,
    id::new_id,
    names::{TASK_EVENTS, TASK_PROGRESS, TASK_RESULTS},
};
use mesh_six_testing::samples::{AGENT, dispatched, envelope, message, note, request, result, with, without};
use metrics_exporter_prometheus::PrometheusBuilder;
use serde_json::{Value, json};

use crate::{
    ask,
    malformed::refused,
    rig::{Rig, TOKEN, fill_inbox},
};

/// Delivers each of `bad` between two good messages, all in one batch; returns the reasons in order.
async fn drops(rig: &Rig, route: &str, good: impl Fn() -> Value, bad: Vec<Value>) -> Vec<String> {
    let before = rig.events().await.len();
    let mut batch = vec![good()];
    for (number, event) in bad.iter().enumerate() {
        // Letters are listed by id.
        batch.push(if event.get("id").is_some() {
            with(event.clone(), "id", json!(format!("{number:02}")))
        } else {
            event.clone()
        });
        batch.push(good());
    }
    let statuses = rig.deliver(route, &batch).await;
    let expected: Vec<&str> = (0..batch.len()).map(|n| if n % 2 == 0 { "SUCCESS" } else { "BURIED" }).collect();
    let letters = rig.letters().await;
    assert_eq!(statuses, expected, "{:?}", letters.iter().map(|l| &l.reason).collect::<Vec<_>>());
    assert_eq!(rig.events().await.len() - before, bad.len() + 1, "the good ones are stored");
    assert!(letters.iter().all(|l| l.app_id == "event-logger" && l.state == "waiting" && !l.envelope.is_empty()));
    letters.into_iter().map(|l| l.reason).collect()
}

fn fields(reasons: &[String]) -> Vec<&str> {
    reasons.iter().map(|r| r.split(": ").next().unwrap()).collect()
}

#[tokio::test]
async fn e_5_bad_notes_are_dropped_and_counted() {
    let recorder = PrometheusBuilder::new().build_recorder();
    let _counted_here = metrics::set_default_local_recorder(&recorder);
    let rig = Rig::start().await;
    let good = || envelope(AGENT, message(TASK_PROGRESS, json!(note(&request(), "good"))));
    let noted = |name: &str, member: Value| with(good(), "data", with(good()["data"].clone(), name, member));
    let bad = vec![
        with(good(), "data", json!("text")),
        with(good(), "data", json!([new_id(), AGENT, TraceId::new(), "good", null])),
        without(good(), "data"),
        noted("taskId", json!("no-uuid")),
        noted("agentId", json!(7)),
        noted("agentId", json!("x".repeat(129))),
        noted("status", json!("")),
        noted("status", json!("a\0b")),
        without(good(), "time"),
        with(good(), "time", json!("2126-01-01T00:00:00Z")),
        with(good(), "time", json!("1926-01-01T00:00:00Z")),
    ];
    let count = bad.len();
    let reasons = drops(&rig, "/events/task-progress", good, bad).await;
    insta::assert_snapshot!(fields(&reasons).join(" "), @"body body body taskId agentId agentId status status time occurredAt occurredAt");
    assert_eq!(refused(&recorder.handle()), count);
}

#[tokio::test]
async fn e_5_bad_results_are_dropped() {
    let rig = Rig::start().await;
    let honest = result(&request());
    fill_inbox(&rig.database.client().await, std::slice::from_ref(&honest), true).await;
    let bad = |name: &str, member: Value| envelope(AGENT, message(TASK_RESULTS, with(json!(honest), name, member)));
    let batch = [
        bad("attempt", json!(0)),
        bad("durationMs", json!(-1)),
        bad("success", json!("yes")),
        bad("success", json!(false)),
        bad("capability", json!("")),
        bad("completedAt", json!("noon")),
        bad("resultHash", json!("0")),
        bad("result", json!("nul \0")),
        bad("error", json!({"type": "llm_error", "message": "nul \0"})),
        bad("usage", json!("much")),
        envelope(AGENT, message(TASK_RESULTS, json!(honest))),
    ];
    let batch: Vec<Value> =
        batch.into_iter().enumerate().map(|(n, e)| with(e, "id", json!(format!("{n:02}")))).collect();
    let statuses = rig.deliver("/events/task-results", &batch).await;
    assert!(statuses[..10].iter().all(|s| s == "BURIED"), "{statuses:?}");
    assert_eq!(statuses[10], "SUCCESS");
    let reasons: Vec<String> = rig.letters().await.into_iter().map(|l| l.reason).collect();
    insta::assert_snapshot!(fields(&reasons).join(" "), @"attempt durationMs success result capability completedAt resultHash result result usage");
    assert_eq!(rig.events().await.len(), 1);
}

#[tokio::test]
async fn e_5_bad_facts_are_dropped() {
    let rig = Rig::start().await;
    let good = || envelope("orchestrator", message(TASK_EVENTS, json!(dispatched(&request()))));
    let fact = |name: &str, member: Value| with(good(), "data", with(good()["data"].clone(), name, member));
    let keyed = |key: &str| fact("idempotencyKey", json!(key));
    let ahead = mesh_six_core::time::format(mesh_six_core::time::now() + chrono::Duration::hours(25));
    let bad = vec![
        fact("eventVersion", json!(2)),
        fact("eventVersion", json!(0)),
        fact("eventType", json!("Task Dispatched")),
        fact("payload", json!({"a": ["\0"]})),
        fact("agentId", json!(AGENT)),
        with(good(), "source", json!(AGENT)),
        with(good(), "data", without(good()["data"].clone(), "idempotencyKey")),
        keyed("dispatch:no-uuid:1"),
        keyed(&"x".repeat(513)),
        fact("occurredAt", json!(ahead)),
        fact("aggregateId", json!("")),
        with(good(), "data", without(good()["data"].clone(), "payload")),
    ];
    let reasons = drops(&rig, "/events/task-events", good, bad).await;
    insta::assert_snapshot!(fields(&reasons).join(" "), @"eventVersion eventVersion eventType payload agentId source idempotencyKey idempotencyKey idempotencyKey occurredAt aggregateId payload");
    insta::assert_snapshot!(reasons[0], @"eventVersion: task.dispatched is known up to version 1, not 2");
}

#[tokio::test]
async fn a_large_payload_is_cut_and_a_forbidden_character_replaced_rather_than_the_fact_lost() {
    let rig = Rig::start().await;
    let mut large = note(&request(), "tool");
    large.details = Some(json!("x".repeat(100_000)));
    let mut odd = note(&request(), "tool");
    odd.details = Some(json!({"said": "a\0b"}));
    let batch = [large, odd].map(|n| envelope(AGENT, message(TASK_PROGRESS, json!(n))));
    assert_eq!(rig.deliver("/events/task-progress", &batch).await, ["SUCCESS"; 2]);
    let events = rig.events().await;
    let payload = &events[0].event.payload;
    assert_eq!((&payload["truncated"], &payload["status"]), (&json!(true), &json!("tool")));
    assert!(payload["originalLength"].as_u64().unwrap() > 100_000 && payload.to_string().len() < 5_000);
    assert_eq!(events[1].event.payload["details"]["said"], "a\u{fffd}b");
}

#[tokio::test]
async fn an_envelope_that_is_none_is_dropped_with_what_can_be_told_of_it() {
    let rig = Rig::start().await;
    let good = || envelope(AGENT, message(TASK_PROGRESS, json!(note(&request(), "good"))));
    let bad = vec![
        with(good(), "source", json!(7)),
        with(good(), "time", json!("yesterday")),
        with(good(), "source", json!("")),
    ];
    let reasons = drops(&rig, "/events/task-progress", good, bad).await;
    assert_eq!(fields(&reasons), ["source", "time", "source"]);
    // Alone, anything that is no batch is one message, an array of one too.
    for text in ["[\"x\"]", "[[]]", "7", "", "{", "{\"entries\":null}"] {
        let answer = ask::post(rig.router(), "/events/task-progress", TOKEN, text).await;
        assert_eq!((answer.status, answer.json()), (StatusCode::OK, json!({"status": "DROP"})), "{text}");
    }
    let alone = rig.letters().await.len() - 3;
    // Without an id, the hash of the bytes is one; the same bytes again are the same letter.
    for _ in 0..2 {
        assert_eq!(
            rig.deliver("/events/task-progress", &[without(good(), "id"), json!("text"), json!(["x"])]).await,
            ["BURIED"; 3]
        );
    }
    let letters = rig.letters().await;
    let hashed: Vec<_> = letters.iter().filter(|l| l.id.len() == 64).collect();
    assert_eq!(hashed.iter().filter(|l| l.tries >= 2).count(), 2, "the two that are the same each time");
    assert_eq!(letters.len(), alone + 3 + 2 + 1, "`[\"x\"]` came alone as well");
}

#[tokio::test]
async fn names_that_no_database_can_keep_do_not_bring_a_message_back_for_ever() {
    let rig = Rig::start().await;
    let good = || envelope(AGENT, message(TASK_PROGRESS, json!(note(&request(), "good"))));
    let bad = |name: &str, text: &str| with(with(good(), "data", json!({})), name, json!(text));
    let long = "i".repeat(100_000);
    let batch = [bad("id", "nul \0"), bad("source", "nul \0"), bad("id", &long), bad("source", &long), good()];
    assert_eq!(rig.deliver("/events/task-progress", &batch).await, ["BURIED", "BURIED", "BURIED", "BURIED", "SUCCESS"]);
    assert_eq!(rig.deliver("/events/task-progress", &batch).await, ["BURIED", "BURIED", "BURIED", "BURIED", "SUCCESS"]);
    let letters = rig.letters().await;
    assert_eq!(letters.len(), 4);
    assert!(letters.iter().all(|l| l.tries == 2 && l.reason == "taskId: is missing"));
    assert_eq!(letters.iter().filter(|l| l.id.starts_with("sha256:")).count(), 2);
    // A good message may have them: only its key is stored, as a hash.
    let odd = with(with(good(), "id", json!("nul \0")), "source", json!(long));
    assert_eq!(rig.deliver("/events/task-progress", &[odd]).await, ["SUCCESS"]);
    assert_eq!(rig.events().await.len(), 2);
}

#[tokio::test]
async fn without_the_sidecars_token_nothing_is_taken() {
    let rig = Rig::start().await;
    let event = envelope(AGENT, message(TASK_PROGRESS, json!(note(&request(), "good"))));
    let body = ask::bulk(&[event]);
    for route in ["task-results", "task-events", "task-progress", "dead-letter"] {
        let route = format!("/events/{route}");
        let wrong = ask::post(rig.router(), &route, "a-guess", body.clone()).await;
        assert_eq!(wrong.status, StatusCode::FORBIDDEN);
        let none = axum::http::Request::post(&route).body(body.clone().into()).unwrap();
        assert_eq!(ask::send(rig.router(), none).await.status, StatusCode::UNAUTHORIZED);
    }
    assert_eq!(ask::get(rig.router(), "/dapr/subscribe").await.status, StatusCode::UNAUTHORIZED);
    assert_eq!((rig.events().await.len(), rig.letters().await.len()), (0, 0));
    assert_eq!(ask::post(rig.router(), "/events/task-progress", TOKEN, body).await.status, StatusCode::OK);
    assert_eq!(rig.events().await.len(), 1);
}

#[tokio::test]
async fn a_message_comes_alone_or_in_a_batch_and_a_batch_that_is_none_is_an_error() {
    let rig = Rig::start().await;
    let event = dispatched(&request());
    let body = envelope("orchestrator", message(TASK_EVENTS, json!(event)));
    for _ in 0..2 {
        let answer = ask::post(rig.router(), "/events/task-events", TOKEN, body.to_string()).await;
        assert_eq!(answer.json(), json!({"status": "SUCCESS"}));
    }
    let stored = rig.events().await;
    assert_eq!(stored.iter().map(|e| e.event.clone()).collect::<Vec<Event>>(), [event]);
    let wrong = ask::post(rig.router(), "/events/task-events", TOKEN, r#"{"entries": 7}"#).await;
    assert_eq!((wrong.status, wrong.field()), (StatusCode::BAD_REQUEST, "entries".to_owned()));
    let huge = ask::post(rig.router(), "/events/task-events", TOKEN, vec![b' '; 33 * 1024 * 1024]).await;
    assert_eq!((huge.status, huge.field()), (StatusCode::PAYLOAD_TOO_LARGE, "body".to_owned()));
}

#[tokio::test]
async fn the_subscriptions_are_those_of_the_table() {
    let rig = Rig::start().await;
    let request = axum::http::Request::get("/dapr/subscribe").header("dapr-api-token", TOKEN);
    let answer = ask::send(rig.router(), request.body(axum::body::Body::empty()).unwrap()).await;
    insta::assert_json_snapshot!(answer.json());
}
