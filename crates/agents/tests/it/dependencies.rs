//! What an agent depends on: shown, and told to the registry, while the agent itself goes on.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU16, Ordering},
    },
    time::Duration,
};

use axum::{Router, http::StatusCode, routing::get};
use mesh_six_core::agent::AgentStatus;
use mesh_six_runtime::agent::AgentConfig;
use mesh_six_testing::wait_until;
use serde_json::json;
use tokio::net::TcpListener;

use crate::{
    mesh::{Mesh, SOON, request},
    tiny::{TINY, Tiny},
};

/// Something that answers with the status that it is told.
async fn upstream() -> (String, Arc<AtomicU16>) {
    let status = Arc::new(AtomicU16::new(200));
    let told = status.clone();
    let answer = move || async move { StatusCode::from_u16(told.load(Ordering::SeqCst)).unwrap() };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/healthz", listener.local_addr().unwrap());
    tokio::spawn(axum::serve(listener, Router::new().route("/healthz", get(answer))).into_future());
    (url, status)
}

#[tokio::test]
async fn an_agent_whose_dependency_is_down_is_degraded_and_goes_on() {
    let mesh = Mesh::new().await;
    let (url, status) = upstream().await;
    let agent = Tiny::depending_on(1, BTreeMap::from([("upstream".to_owned(), url)]));
    // Heartbeats alone would take too long to tell.
    let heartbeat = Duration::from_mins(5);
    let config = AgentConfig { heartbeat, dependencies: Duration::from_millis(20), ..mesh.config() };
    let running = mesh.start_with(agent, config).await;
    let registry = mesh.registry();
    let seen = async |wanted: AgentStatus, shown: &str| {
        wait_until(SOON, async || {
            let health = running.get("/healthz").await.1;
            let known = registry.get(TINY).await.unwrap().unwrap().status;
            known == wanted && health["dependencies"] == json!({ "upstream": shown })
        })
        .await;
    };
    seen(AgentStatus::Online, "ok").await;
    status.store(503, Ordering::SeqCst);
    seen(AgentStatus::Degraded, "down").await;
    // A slow or missing upstream is no reason to restart the agent, nor to take it out of service.
    assert_eq!(running.get("/healthz").await.0, StatusCode::OK);
    assert_eq!(running.get("/readyz").await.0, StatusCode::OK);
    let task = request("tiny", json!({}));
    mesh.dispatch(TINY, &task).await;
    assert!(mesh.result(task.id).await.success);
    status.store(204, Ordering::SeqCst);
    seen(AgentStatus::Online, "ok").await;
    running.end().await;
}
