//! Criterion E.4: the traced wrapper.

use mesh_six_core::{
    Event,
    event::catalogue::{LLM_CALL, LLM_RESPONSE},
    sink::NoEventLog,
};
use serde_json::{Value, json};
use std::sync::Arc;
use wiremock::ResponseTemplate;

use crate::stub::{MODEL, Stub, check_pairs, question, says};

const QUESTION: &str = "Warum ist der Himmel größer als 3 Bäume?";
const ANSWER: &str = "Weil er überall ist.";

/// The payload without what differs from run to run.
fn stable(event: &Event) -> Value {
    let mut payload = event.payload.clone();
    payload["callId"] = json!("[id]");
    if !payload["durationMs"].is_null() {
        payload["durationMs"] = json!("[ms]");
    }
    payload
}

#[tokio::test]
async fn e_4_a_call_before_and_a_response_after_without_any_prompt_text() {
    let stub = Stub::start(vec![says(ANSWER).insert_header("x-litellm-response-cost", "0.001")]).await;
    let (generator, sink) = stub.generator();
    let text = generator.text(question(QUESTION)).await.unwrap();
    assert_eq!(text.content, ANSWER);

    let events = sink.take();
    let types: Vec<&str> = events.iter().map(|e| e.event_type.as_str()).collect();
    assert_eq!(types, [LLM_CALL, LLM_RESPONSE]);
    check_pairs(&events, stub.requests().await.len());
    for event in &events {
        assert_eq!(event.trace_id, generator.context.trace_id);
        assert_eq!(event.task_id, generator.context.task_id);
        // The aggregate task:{id} is implied by the task.
        assert_eq!(event.aggregate_id, None);
        assert_eq!(event.agent_id, "simple-agent");
        assert_eq!(event.content, None);
        event.check(chrono::Utc::now()).unwrap();
    }
    // Lengths are characters, not bytes.
    assert_eq!(events[0].payload["promptLength"], QUESTION.chars().count());
    assert_eq!(events[0].payload["systemPromptLength"], "You are brief.".len());
    assert_eq!(events[0].payload["model"], MODEL);
    assert_eq!(events[1].payload["responseLength"], ANSWER.chars().count());
    assert!(events[1].payload["durationMs"].as_i64().unwrap() >= 0);
    let log = serde_json::to_string(&events).unwrap();
    for word in ["Himmel", "überall", "brief", "sk-secret"] {
        assert!(!log.contains(word), "{word} in {log}");
    }
    insta::assert_json_snapshot!("events_of_a_call", events.iter().map(stable).collect::<Vec<_>>());
}

#[tokio::test]
async fn e_4_content_goes_beside_the_log_when_opted_in() {
    let stub = Stub::start(vec![says(ANSWER)]).await;
    let (mut generator, sink) = stub.generator();
    generator.capture_content = true;
    generator.user_id = Some("ada".to_owned());
    generator.text(question(QUESTION)).await.unwrap();

    let events = sink.take();
    let content: Vec<_> = events.iter().map(|e| e.content.clone().unwrap()).collect();
    assert_eq!(content.iter().map(|c| c.kind).collect::<Vec<_>>(), ["prompt", "response"]);
    assert!(content[0].text.contains(QUESTION) && content[0].text.contains("You are brief."));
    assert!(content[1].text.contains(ANSWER));
    assert!(content.iter().all(|c| c.user_id.as_deref() == Some("ada")));
    assert_eq!(events[0].payload["contentLength"], content[0].text.chars().count());
    assert!(!serde_json::to_string(&events).unwrap().contains("Himmel"));
}

#[tokio::test]
async fn e_4_an_error_gives_an_error_response_event() {
    let stub = Stub::start(vec![ResponseTemplate::new(401).set_body_string("upstream secret")]).await;
    let (generator, sink) = stub.generator();
    generator.text(question(QUESTION)).await.unwrap_err();
    let events = sink.take();
    check_pairs(&events, 1);
    insta::assert_json_snapshot!("events_of_an_error", events.iter().map(stable).collect::<Vec<_>>());
}

#[tokio::test]
async fn e_4_and_e_10_the_answer_does_not_depend_on_the_log() {
    let stub = Stub::start(vec![says(ANSWER)]).await;
    let (mut generator, _) = stub.generator();
    generator.sink = Arc::new(NoEventLog);
    assert_eq!(generator.text(question(QUESTION)).await.unwrap().content, ANSWER);
}

#[tokio::test]
async fn e_4_foreign_words_in_an_answer_do_not_cost_the_event() {
    let odd = json!({"id": "a\u{0}b", "model": "m".repeat(9_999), "choices": [{"message": {"content": "x\u{0}"}, "finish_reason": "\u{0}"}]});
    let stub = Stub::start(vec![ResponseTemplate::new(200).set_body_json(odd)]).await;
    let (generator, sink) = stub.generator();
    assert_eq!(generator.text(question(QUESTION)).await.unwrap().content, "x\u{FFFD}");
    for event in sink.take() {
        event.check(chrono::Utc::now()).unwrap();
        assert!(event.payload.to_string().len() < 2_000);
    }
}
