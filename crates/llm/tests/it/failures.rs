//! What a generator does when the endpoint fails: the faults' table of the issue, request by request.

use std::time::Duration;

use mesh_six_core::{ErrorType, Event, event::catalogue::LLM_RESPONSE, sink::CollectingSink};
use mesh_six_llm::{LlmError, RetryPolicy};
use tokio::{net::TcpListener, time::Instant};
use wiremock::ResponseTemplate;

use crate::stub::{Stub, check_pairs, generator, model_at, question, says};

fn status(code: u16) -> ResponseTemplate {
    ResponseTemplate::new(code).set_body_string("upstream secret")
}

fn errors(events: &[Event]) -> Vec<(String, Option<u64>)> {
    let responses = events.iter().filter(|e| e.event_type == LLM_RESPONSE && e.payload["finishReason"] == "error");
    let error = |e: &Event| {
        let error = &e.payload["error"];
        (error["type"].as_str().unwrap().to_owned(), error["status"].as_u64())
    };
    responses.map(error).collect()
}

fn told(sink: &CollectingSink, requests: usize) -> Vec<(String, Option<u64>)> {
    let events = sink.take();
    check_pairs(&events, requests);
    assert!(!serde_json::to_string(&events).unwrap().contains("secret"));
    errors(&events)
}

#[tokio::test]
async fn a_429_is_repeated_after_the_time_that_it_asks_for() {
    let stub = Stub::start(vec![status(429).insert_header("retry-after", "0.3"), says("yes")]).await;
    let (generator, sink) = stub.generator();
    let started = Instant::now();
    let text = generator.text(question("?")).await.unwrap();
    assert!(started.elapsed() >= Duration::from_millis(300), "{:?}", started.elapsed());
    assert_eq!((text.content.as_str(), text.steps), ("yes", 1));
    assert_eq!(told(&sink, 2), [("rate_limited".to_owned(), Some(429))]);
    assert_eq!(stub.requests().await.len(), 2);
    let usage = generator.usage();
    assert_eq!((usage.requests, usage.input_tokens), (2, 20));
}

#[tokio::test]
async fn a_429_that_asks_for_more_time_than_the_task_has_fails_at_once() {
    let stub = Stub::start(vec![status(429).insert_header("retry-after", "60")]).await;
    let (generator, sink) = stub.generator();
    let error = generator.text(question("?")).await.unwrap_err();
    assert!(matches!(error, LlmError::RateLimited { .. }), "{error}");
    assert_eq!(told(&sink, 1).len(), 1);
}

#[tokio::test]
async fn a_500_is_repeated_three_times_in_all() {
    let stub = Stub::start(vec![status(500), status(503), status(502), says("too late")]).await;
    let (generator, sink) = stub.generator();
    let error = generator.text(question("?")).await.unwrap_err();
    assert_eq!((error.error_type(), error.status()), (ErrorType::LlmError, Some(502)));
    assert_eq!(error.to_string(), "the model endpoint failed with status 502");
    let codes: Vec<_> = told(&sink, 3).into_iter().map(|(_, status)| status).collect();
    assert_eq!(codes, [Some(500), Some(503), Some(502)]);
    assert_eq!((stub.requests().await.len(), generator.usage().requests), (3, 3));
}

#[tokio::test]
async fn a_400_is_not_repeated() {
    let stub = Stub::start(vec![status(400), says("no")]).await;
    let (generator, sink) = stub.generator();
    let error = generator.text(question("?")).await.unwrap_err();
    assert!(matches!(error, LlmError::Client { status: 400 }), "{error}");
    assert_eq!(told(&sink, 1), [("client_error".to_owned(), Some(400))]);
}

#[tokio::test]
async fn garbage_and_emptiness_are_repeated() {
    let garbage = ResponseTemplate::new(200).set_body_string("<html>secret</html>");
    let stub = Stub::start(vec![garbage, says("  "), says("yes")]).await;
    let (generator, sink) = stub.generator();
    assert_eq!(generator.text(question("?")).await.unwrap().content, "yes");
    assert_eq!(told(&sink, 3), [("unusable_answer".to_owned(), None)]);
    // The empty answer was paid for.
    assert_eq!(generator.usage().output_tokens, 10);
}

#[tokio::test]
async fn a_model_that_hangs_is_a_timeout_at_the_deadline() {
    let stub = Stub::start(vec![says("late").set_delay(Duration::from_secs(30))]).await;
    let (mut generator, sink) = stub.generator();
    generator.deadline = Instant::now() + Duration::from_millis(200);
    let started = Instant::now();
    let error = generator.text(question("?")).await.unwrap_err();
    assert_eq!(error.error_type(), ErrorType::Timeout);
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    assert_eq!(told(&sink, 1), [("timeout".to_owned(), None)]);

    let error = generator.text(question("?")).await.unwrap_err();
    assert_eq!(error.to_string(), "no time was left to ask the model");
    check_pairs(&sink.take(), 0);
}

#[tokio::test]
async fn a_request_that_hangs_is_repeated_while_the_task_has_time() {
    let stub = Stub::start(vec![says("late").set_delay(Duration::from_secs(30)), says("yes")]).await;
    let (mut generator, sink) = stub.generator();
    generator.retry = RetryPolicy { request_timeout: Duration::from_secs(1), ..generator.retry };
    assert_eq!(generator.text(question("?")).await.unwrap().content, "yes");
    assert_eq!(told(&sink, 2), [("timeout".to_owned(), None)]);
}

#[tokio::test]
async fn an_endpoint_that_is_not_there_is_unreachable() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let (generator, sink) = generator(model_at(&format!("http://user:secret@{address}/v1")));
    let error = generator.text(question("?")).await.unwrap_err();
    assert!(matches!(error, LlmError::Unreachable { .. }), "{error}");
    assert!(!format!("{error:?}").contains("secret"), "{error:?}");
    assert_eq!(told(&sink, 3).last().unwrap().0, "unreachable");
}

#[tokio::test]
async fn a_caller_that_gives_up_leaves_a_response_too() {
    let stub = Stub::start(vec![says("late").set_delay(Duration::from_secs(30))]).await;
    let (generator, sink) = stub.generator();
    let given_up = tokio::time::timeout(Duration::from_millis(100), generator.text(question("?"))).await;
    assert!(given_up.is_err());
    assert_eq!(told(&sink, 1), [("cancelled".to_owned(), None)]);
    assert_eq!(generator.usage().requests, 1);
}
