//! `POST /invoke`: one request answered directly.

use std::sync::Arc;

use axum::http::StatusCode;
use mesh_six_testing::Reply;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::{
    mesh::{Mesh, SOON, request},
    tiny::{TINY, Tiny},
};

/// An answer with what differs each time taken out.
fn shown((status, mut body): (StatusCode, Value)) -> Value {
    for field in ["taskId", "traceId", "durationMs", "completedAt"] {
        if let Some(value) = body.get_mut(field) {
            *value = json!(format!("[{field}]"));
        }
    }
    // The prompt's words are the agent's own affair.
    if let Some(tokens) = body.pointer_mut("/usage/inputTokens").filter(|tokens| **tokens != 0) {
        *tokens = json!("[inputTokens]");
    }
    json!({"status": status.as_u16(), "body": body})
}

#[tokio::test]
async fn an_answer_comes_back_directly() {
    let mesh = Mesh::new().await;
    let running = mesh.start(mesh_six_agents::find("simple-agent").unwrap()).await;
    let body = json!({"id": "mine-17", "payload": {"query": "why?"}, "requestedBy": "somebody"});
    let answer = running.post("/invoke", body.to_string()).await;
    let task: mesh_six_core::task::TaskResult = serde_json::from_value(answer.1.clone()).unwrap();
    insta::assert_json_snapshot!(shown(answer));
    running.end().await;
    assert_eq!(mesh.events(task.task_id).await, ["llm.call", "llm.response"]);
}

#[tokio::test]
async fn a_whole_request_is_taken_under_an_id_of_ours() {
    let mesh = Mesh::without_database().await;
    let running = mesh.start(mesh_six_agents::find("simple-agent").unwrap()).await;
    let request = request("general-query", json!({"query": "why?"}));
    let (status, body) = running.post("/invoke", json!(request).to_string()).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(body["requestId"], request.id.to_string());
    assert_ne!(body["taskId"], request.id.to_string());
    assert_eq!(body["traceId"], request.trace_id.to_string());
    running.end().await;
}

#[tokio::test]
async fn bad_input_names_the_field() {
    let mesh = Mesh::without_database().await;
    let running = mesh.start(mesh_six_agents::find("simple-agent").unwrap()).await;
    let long = "x".repeat(33 * 1024);
    let bodies = [
        ("malformed", "{\"payload\":".to_owned()),
        ("empty", String::new()),
        ("no object", json!({"payload": [1]}).to_string()),
        ("priority", json!({"priority": 11, "payload": {"query": "why?"}}).to_string()),
        ("timeout", json!({"timeout": 0, "payload": {"query": "why?"}}).to_string()),
        ("capability", json!({"capability": "juggling", "payload": {"query": "why?"}}).to_string()),
        ("trace", json!({"traceId": "abc", "payload": {"query": "why?"}}).to_string()),
        ("no query", json!({}).to_string()),
        ("long query", json!({"payload": {"query": long}}).to_string()),
        ("large payload", json!({"payload": {"query": "x".repeat(300 * 1024)}}).to_string()),
        ("large body", json!({"payload": {"query": "x".repeat(2 * 1024 * 1024)}}).to_string()),
    ];
    let mut answers = serde_json::Map::new();
    for (what, body) in bodies {
        answers.insert(what.to_owned(), shown(running.post("/invoke", body).await));
    }
    insta::assert_json_snapshot!(answers);
    assert!(mesh.model.calls().is_empty());
    running.end().await;
}

#[tokio::test]
async fn faults_have_their_status_and_leak_nothing() {
    let mesh = Mesh::without_database().await;
    let running = mesh.start(mesh_six_agents::find("simple-agent").unwrap()).await;
    let mut answers = serde_json::Map::new();
    mesh.model.always(Reply::status(401));
    let body = json!({"payload": {"query": "why?"}}).to_string();
    answers.insert("the model refuses".to_owned(), shown(running.post("/invoke", body).await));
    mesh.model.always(Reply::Hang);
    let body = json!({"timeout": 1, "payload": {"query": "why?"}}).to_string();
    let answer = running.post("/invoke", body).await;
    assert_eq!(answer.0, StatusCode::GATEWAY_TIMEOUT);
    running.end().await;

    let tiny = mesh.start(Tiny::new(1)).await;
    for what in ["panic", "fail"] {
        let body = json!({"payload": {"do": what}}).to_string();
        answers.insert(what.to_owned(), shown(tiny.post("/invoke", body).await));
    }
    tiny.end().await;
    insta::assert_json_snapshot!(answers);
}

#[tokio::test]
async fn callers_beyond_those_that_may_wait_are_told_at_once_and_the_queue_keeps_a_slot() {
    let mesh = Mesh::new().await;
    let agent = Tiny::new(3);
    let running = Arc::new(mesh.start(agent.clone()).await);
    let body = json!({"payload": {"do": "wait"}}).to_string();
    // Two work, so that one slot is left to the queue, and six wait.
    let mut calls = JoinSet::new();
    for _ in 0..50 {
        let (running, body) = (running.clone(), body.clone());
        calls.spawn(async move { running.post("/invoke", body).await });
    }
    for _ in 0..50 - (2 + 6) {
        let (status, answer) = tokio::time::timeout(SOON, calls.join_next()).await.unwrap().unwrap().unwrap();
        assert_eq!((status, &answer["error"]["type"]), (StatusCode::SERVICE_UNAVAILABLE, &json!("unavailable")));
    }
    let queued = request("tiny", json!({}));
    mesh.dispatch(TINY, &queued).await;
    assert!(mesh.result(queued.id).await.success, "it does not wait for callers");
    assert_eq!(agent.runs(), 3);
    agent.gate.add_permits(8);
    while let Some(answer) = calls.join_next().await {
        assert_eq!(answer.unwrap().0, StatusCode::OK);
    }
    assert_eq!(agent.runs(), 9);
    // Their places are free again.
    agent.gate.add_permits(1);
    assert_eq!(running.post("/invoke", body).await.0, StatusCode::OK);
    Arc::into_inner(running).unwrap().end().await;
}
