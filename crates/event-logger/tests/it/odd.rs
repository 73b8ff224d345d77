//! Input that is legal JSON and yet odd, or nearly: a clear answer, the neighbours in the batch unharmed, no crash.

use axum::http::StatusCode;
use mesh_six_core::names::{TASK_EVENTS, TASK_PROGRESS};
use mesh_six_testing::samples::{AGENT, dispatched, envelope, message, note, request, with};
use serde_json::{Value, json};

use crate::{
    ask,
    rig::{Rig, TOKEN},
};

const ROUTE: &str = "/events/task-progress";

/// A message with `details` that are this text.
fn with_details(details: &str) -> String {
    let mut noted = note(&request(), "odd");
    noted.details = Some(json!("HERE"));
    envelope(AGENT, message(TASK_PROGRESS, json!(noted))).to_string().replace("\"HERE\"", details)
}

/// Delivers each alone, then all among good ones; gives the statuses of both rounds.
async fn deliver(rig: &Rig, texts: &[String]) -> (Vec<String>, Vec<String>) {
    let mut alone = Vec::new();
    for text in texts {
        let answer = ask::post(rig.router(), ROUTE, TOKEN, text.clone()).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
        alone.push(answer.json()["status"].as_str().unwrap().to_owned());
    }
    let good: Vec<String> = (0..=texts.len()).map(|_| with_details("{}")).collect();
    let mut batch = vec![good[0].as_str()];
    for (text, good) in texts.iter().zip(&good[1..]) {
        batch.extend([text.as_str(), good.as_str()]);
    }
    let answer = ask::post(rig.router(), ROUTE, TOKEN, ask::bulk_of_texts(&batch)).await;
    let statuses = ask::statuses(&answer);
    assert!(statuses.iter().step_by(2).all(|status| status == "SUCCESS"), "the good ones are stored: {statuses:?}");
    (alone, statuses.into_iter().skip(1).step_by(2).collect())
}

#[tokio::test]
async fn numbers_beyond_2_to_the_53_are_kept_to_the_last_digit() {
    let rig = Rig::start().await;
    let numbers = ["9007199254740993", "-9007199254740995", "18446744073709551615", "-9223372036854775808"];
    let texts = numbers.map(|number| with_details(&format!(r#"{{"n":{number}}}"#)));
    let (alone, batch) = deliver(&rig, &texts).await;
    assert_eq!((alone, batch), (vec!["SUCCESS".to_owned(); 4], vec!["SUCCESS".to_owned(); 4]));
    let stored = rig.events().await;
    for (event, number) in stored.iter().zip(numbers) {
        assert_eq!(event.event.payload["details"]["n"].to_string(), number);
    }
}

#[tokio::test]
async fn lone_surrogates_and_deep_nesting_fail_alone_and_say_where() {
    let rig = Rig::start().await;
    let deep = |open: &str, close: &str| format!("{}1{}", open.repeat(1_000), close.repeat(1_000));
    let odd = ["\"\\ud800\"", "{\"a\":[\"\\udc00 b\"]}", &deep("[", "]"), &deep("{\"a\":", "}")].map(with_details);
    let (alone, batch) = deliver(&rig, &odd).await;
    assert_eq!((alone, batch), (vec!["DROP".to_owned(); 4], vec!["BURIED".to_owned(); 4]));
    let letters = rig.letters().await;
    assert_eq!(letters.len(), 4, "nothing is lost: each waits as it came");
    assert!(letters.iter().all(|letter| letter.tries == 2 && letter.reason.contains(": ")), "{letters:?}");
    assert!(letters.iter().all(|letter| odd.iter().any(|text| text.as_bytes() == letter.envelope)));
    assert_eq!(rig.events().await.len(), odd.len() + 1);
}

#[tokio::test]
async fn an_endless_trace_id_is_refused_in_few_words() {
    let rig = Rig::start().await;
    let long = "a".repeat(1 << 18);
    let fact = envelope("orchestrator", message(TASK_EVENTS, json!(dispatched(&request()))));
    let fact = with(fact.clone(), "data", with(fact["data"].clone(), "traceId", json!(long)));
    assert_eq!(rig.deliver("/events/task-events", &[fact]).await, ["BURIED"]);
    let letters = rig.letters().await;
    assert!(letters[0].reason.starts_with("traceId: ") && letters[0].reason.len() < 1_024, "{}", letters[0].reason);
    // As a condition it is named as well, as long as an address may be.
    let answer = ask::get(rig.router(), &format!("/api/v1/events?traceId={}", &long[..60_000])).await;
    assert_eq!((answer.status, answer.field().as_str()), (StatusCode::BAD_REQUEST, "traceId"));
    assert!(answer.text.len() < 2_048);
}

#[tokio::test]
async fn an_unknown_version_is_refused_where_the_type_is_known_and_kept_where_it_is_not() {
    let rig = Rig::start().await;
    let fact = |name: &str, member: Value| {
        let good = envelope("orchestrator", message(TASK_EVENTS, json!(dispatched(&request()))));
        with(good.clone(), "data", with(good["data"].clone(), name, member))
    };
    let unknown = with(fact("eventType", json!("task.of_tomorrow")), "id", json!("tomorrow"));
    let unknown = with(unknown.clone(), "data", with(unknown["data"].clone(), "eventVersion", json!(7)));
    let statuses = rig.deliver("/events/task-events", &[fact("eventVersion", json!(2)), unknown]).await;
    let letters = rig.letters().await;
    assert_eq!(statuses, ["BURIED", "SUCCESS"], "{letters:?}");
    assert_eq!(letters[0].reason, "eventVersion: task.dispatched is known up to version 1, not 2");
    assert_eq!(rig.events().await[0].event.event_version, 7);
}
