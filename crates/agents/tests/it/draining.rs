//! The end of an agent: what is in flight is answered, or given up, and nothing is left in the dark.

use std::time::Duration;

use axum::http::StatusCode;
use mesh_six_core::{ErrorType, agent::AgentStatus};
use mesh_six_runtime::agent::AgentConfig;
use mesh_six_testing::wait_until;
use serde_json::json;

use crate::{
    mesh::{Mesh, SOON, request},
    tiny::{TINY, Tiny},
};

#[tokio::test]
async fn what_is_in_flight_is_answered_and_nothing_new_is_begun() {
    let mesh = Mesh::new().await;
    let agent = Tiny::new(1);
    let running = mesh.start(agent.clone()).await;
    let (first, queued) = (request("tiny", json!({"do": "wait"})), request("tiny", json!({})));
    mesh.dispatch(TINY, &first).await;
    wait_until(SOON, async || agent.runs() == 1).await;
    mesh.dispatch(TINY, &queued).await;

    running.terminate();
    let registry = mesh.registry();
    wait_until(SOON, async || {
        registry.get(TINY).await.unwrap().is_some_and(|record| record.status == AgentStatus::Offline)
    })
    .await;
    assert_eq!(running.get("/readyz").await.0, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(running.post("/invoke", "{}").await.0, StatusCode::SERVICE_UNAVAILABLE);
    agent.gate.add_permits(1);
    running.end().await;
    assert_eq!(mesh.results(first.id).len(), 1);
    assert!(mesh.results(first.id)[0].1.success);
    assert_eq!(agent.runs(), 1);
    let waits = "SELECT task_id::text FROM agent_inbox WHERE state = 'queued' AND claimed_by IS NULL";
    assert_eq!(mesh.text(waits).await, Some(queued.id.to_string()), "left for the other replicas");

    // The next process takes it from the inbox, without a message.
    mesh.local.detach(TINY).await;
    let next = mesh.start(agent.clone()).await;
    assert!(mesh.result(queued.id).await.success);
    next.end().await;
}

#[tokio::test]
async fn what_does_not_end_within_the_grace_period_is_given_up_as_unavailable() {
    let mesh = Mesh::new().await;
    let config = AgentConfig { grace: Duration::from_millis(200), ..mesh.config() };
    let agent = Tiny::new(1);
    let running = mesh.start_with(agent.clone(), config).await;
    let request = request("tiny", json!({"do": "hang"}));
    mesh.dispatch(TINY, &request).await;
    wait_until(SOON, async || agent.runs() == 1).await;
    running.end().await;
    let result = mesh.results(request.id).remove(0).1;
    let error = result.error.unwrap();
    assert_eq!(error.error_type, ErrorType::Unavailable);
    assert!(error.error_type.retryable());
    assert_eq!(mesh.events(request.id).await, ["task.result"]);
}
