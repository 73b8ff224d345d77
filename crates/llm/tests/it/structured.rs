//! Answers of a given type.

use mesh_six_core::{ErrorType, event::catalogue::LLM_CALL};
use mesh_six_llm::LlmError;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;

use crate::stub::{Stub, check_pairs, says};

#[derive(Debug, PartialEq, Deserialize, JsonSchema)]
struct Verdict {
    approved: bool,
    #[schemars(range(min = 0.0, max = 1.0))]
    confidence: f64,
    concerns: Vec<String>,
}

fn good() -> serde_json::Value {
    json!({"approved": true, "confidence": 0.5, "concerns": ["none"]})
}

#[tokio::test]
async fn an_answer_is_checked_and_typed() {
    let stub = Stub::start(vec![says(&format!("```json\n{}\n```", good()))]).await;
    let (generator, sink) = stub.generator();
    let verdict: Verdict = generator.structured("Judge.", "Is it good?").await.unwrap();
    assert_eq!(verdict, Verdict { approved: true, confidence: 0.5, concerns: vec!["none".to_owned()] });
    let events = sink.take();
    check_pairs(&events, 1);
    assert_eq!(events[0].payload["structured"], true);
    insta::assert_json_snapshot!("structured_request", stub.bodies().await[0]);
}

#[tokio::test]
async fn the_model_hears_once_what_is_wrong_with_its_answer() {
    let bad = json!({"approved": "perhaps", "confidence": 2, "concerns": []});
    let stub = Stub::start(vec![says(&bad.to_string()), says(&good().to_string())]).await;
    let (generator, sink) = stub.generator();
    assert!(generator.structured::<Verdict>("Judge.", "Is it good?").await.unwrap().approved);
    let events = sink.take();
    check_pairs(&events, 2);
    let steps: Vec<_> = events.iter().filter(|e| e.event_type == LLM_CALL).map(|e| e.payload["step"].clone()).collect();
    assert_eq!(steps, [1, 2]);
    insta::assert_json_snapshot!("repair_messages", stub.bodies().await[1]["messages"]);
}

#[tokio::test]
async fn two_answers_that_do_not_fit_are_an_error_that_quotes_neither() {
    let bad = json!({"approved": true, "confidence": 41.5, "concerns": []});
    let stub = Stub::start(vec![says("I would rather not"), says(&bad.to_string())]).await;
    let (generator, sink) = stub.generator();
    let error = generator.structured::<Verdict>("Judge.", "Is it good?").await.unwrap_err();
    assert!(matches!(error, LlmError::SchemaViolation { .. }), "{error}");
    assert_eq!(error.error_type(), ErrorType::LlmError);
    assert_eq!(error.to_string(), "the model's answer does not fit the schema: at /confidence: maximum");
    check_pairs(&sink.take(), 2);
    assert_eq!((stub.requests().await.len(), generator.usage().requests), (2, 2));
}
