//! What every agent must do, run for each one in the list.

use std::time::Duration;

use axum::http::StatusCode;
use mesh_six_core::{ErrorType, agent::AgentStatus, names};
use mesh_six_runtime::Registry;
use mesh_six_testing::{Reply, wait_for, wait_until};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::mesh::{Mesh, SOON, request};

/// A question that every agent takes, for its first capability.
fn question(agent: &str) -> mesh_six_core::task::TaskRequest {
    let definition = mesh_six_agents::find(agent).unwrap().definition();
    request(&definition.capabilities[0].name, json!({"query": "Why is the sky blue?"}))
}

async fn heartbeat(registry: &Registry, agent: &str) -> String {
    registry.get(agent).await.unwrap().unwrap().last_heartbeat
}

#[tokio::test]
async fn m1_1_an_agent_registers_beats_and_leaves() {
    for name in mesh_six_agents::names() {
        let mesh = Mesh::new().await;
        let began = Instant::now();
        let agent = mesh_six_agents::find(name).unwrap();
        let definition = agent.definition();
        let running = mesh.start(agent).await;
        assert!(began.elapsed() < Duration::from_secs(5), "registered after {:?}", began.elapsed());

        let registry = mesh.registry();
        let record = registry.get(name).await.unwrap().unwrap();
        assert_eq!((record.status, &record.capabilities), (AgentStatus::Online, &definition.capabilities));
        let index = mesh.sidecar().get_state(names::REGISTRY_INDEX).await.unwrap().unwrap();
        assert_eq!(index.value, json!([name]));

        let (status, health) = running.get("/healthz").await;
        assert_eq!(status, StatusCode::OK);
        let capabilities: Vec<_> = definition.capabilities.iter().map(|c| c.name.as_str()).collect();
        assert_eq!(
            health,
            json!({"status": "ok", "service": name, "agent": name, "name": definition.name,
                "capabilities": capabilities, "memoryEnabled": false, "inbox": "database", "registered": true})
        );
        let first = record.last_heartbeat;
        wait_until(SOON, async || heartbeat(&registry, name).await > first).await;
        let event = "SELECT payload::text FROM mesh_six_events WHERE event_type = 'agent.registered'";
        let payload = wait_for(SOON, async || mesh.text(event).await).await;
        assert_eq!(serde_json::from_str::<Value>(&payload).unwrap()["capabilities"], json!(definition.capabilities));

        running.end().await;
        assert_eq!(registry.get(name).await.unwrap().unwrap().status, AgentStatus::Offline);
        let index = mesh.sidecar().get_state(names::REGISTRY_INDEX).await.unwrap().unwrap();
        assert_eq!(index.value, json!([name]));
        let event = "SELECT aggregate_id FROM mesh_six_events WHERE event_type = 'agent.deregistered'";
        assert_eq!(mesh.text(event).await, Some(format!("agent:{name}")));
    }
}

#[tokio::test]
async fn an_agent_is_not_ready_before_its_sidecar_delivers() {
    for name in mesh_six_agents::names() {
        let mesh = Mesh::without_database().await;
        let running = mesh.replica(mesh_six_agents::find(name).unwrap(), mesh.config());
        let (status, body) = running.get("/readyz").await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{body}");
        assert_eq!(running.get("/healthz").await.0, StatusCode::OK);
        assert!(mesh.registry().get(name).await.unwrap().is_none(), "known before it can be reached");
        mesh.local.attach(name, running.router.clone()).await.unwrap();
        wait_until(SOON, async || running.get("/readyz").await.0 == StatusCode::OK).await;
        running.terminate();
        wait_until(SOON, async || running.get("/readyz").await.0 == StatusCode::SERVICE_UNAVAILABLE).await;
        assert_eq!(running.get("/healthz").await.0, StatusCode::OK);
        running.end().await;
    }
}

#[tokio::test]
async fn m1_2_a_request_gets_exactly_one_result_and_e_4_every_model_request_is_on_record() {
    for name in mesh_six_agents::names() {
        let mesh = Mesh::new().await;
        let running = mesh.start(mesh_six_agents::find(name).unwrap()).await;
        let request = question(name);
        mesh.dispatch(name, &request).await;
        let result = mesh.result(request.id).await;
        assert!(result.success, "{:?}", result.error);
        assert_eq!(result.result.as_ref().unwrap()["response"], "stub answer");
        assert!(result.duration_ms > 0);
        assert_eq!((result.trace_id, result.attempt), (request.trace_id, 1));
        let (input, output) = mesh.model.tokens();
        assert_eq!((result.usage.input_tokens, result.usage.output_tokens), (input, output));

        // Acknowledged: nothing is under way, so nothing can be delivered again.
        wait_until(SOON, async || mesh.local.under_way() == 0).await;
        let (envelope, _) = mesh.results(request.id).remove(0);
        assert_eq!(envelope.id, format!("result:{}:1:{name}", request.id));
        assert_eq!(envelope.time, Some(result.completed_at));
        running.end().await;
        assert_eq!(mesh.results(request.id).len(), 1);
        assert_eq!(mesh.model.calls().len(), 1);
        assert_eq!(mesh.events(request.id).await, ["llm.call", "llm.response", "task.result"]);
        assert_eq!(mesh.progress(request.id), ["started", "finished"]);
        let state = mesh.text("SELECT state FROM agent_inbox").await;
        assert_eq!(state.as_deref(), Some("published"));
    }
}

#[tokio::test]
async fn m1_2_a_failing_model_gives_a_failed_result_and_e_7_every_try_is_on_record() {
    for name in mesh_six_agents::names() {
        let mesh = Mesh::new().await;
        let running = mesh.start(mesh_six_agents::find(name).unwrap()).await;
        mesh.model.script([Reply::status(429), Reply::Garbage]);
        mesh.model.always(Reply::status(401));
        let request = question(name);
        mesh.dispatch(name, &request).await;
        let result = mesh.result(request.id).await;
        let error = result.error.unwrap();
        assert_eq!((result.success, error.error_type), (false, ErrorType::LlmError), "{}", error.message);
        assert!(!error.message.contains("scripted"), "an upstream body leaked: {}", error.message);
        running.end().await;

        let calls = mesh.model.calls().len();
        let rows = |kind: &str, events: &[String]| events.iter().filter(|e| *e == kind).count();
        let events = mesh.events(request.id).await;
        assert_eq!((rows("llm.call", &events), rows("llm.response", &events)), (calls, calls), "{events:?}");
        assert_eq!(events.last().map(String::as_str), Some("task.result"));
    }
}

#[tokio::test]
async fn prompts_state_who_the_agent_is_and_what_it_must_not_do() {
    for name in mesh_six_agents::names() {
        let mesh = Mesh::without_database().await;
        let running = mesh.start(mesh_six_agents::find(name).unwrap()).await;
        let request = question(name);
        mesh.dispatch(name, &request).await;
        mesh.result(request.id).await;
        let call = mesh.model.calls().remove(0);
        let system = call.last("system").unwrap();
        for part in ["# Role", "# Environment", "# Method", "# Safety", name] {
            assert!(system.contains(part), "{part} is missing in:\n{system}");
        }
        assert_eq!(call.last("user"), Some("Why is the sky blue?"));
        running.end().await;
    }
}
