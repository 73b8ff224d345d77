//! Handlers and databases that fail.

use mesh_six_core::{
    ErrorType,
    task::{TaskRequest, TaskResult},
};
use mesh_six_runtime::agent::AgentConfig;
use mesh_six_testing::{Reply, wait_for, wait_until};
use serde_json::json;
use std::time::Duration;
use tokio::time::Instant;

use crate::{
    mesh::{Mesh, SOON, request},
    tiny::{TINY, Tiny},
};

/// Between two deliveries of one message (messaging.md §1).
const LONGEST_PAUSE: Duration = Duration::from_secs(15);

#[tokio::test]
async fn a_handler_that_panics_gives_a_failed_result_and_the_agent_goes_on() {
    let mesh = Mesh::new().await;
    let running = mesh.start(Tiny::new(1)).await;
    let (bad, good) = (request("tiny", json!({"do": "panic"})), request("tiny", json!({})));
    mesh.dispatch(TINY, &bad).await;
    let error = mesh.result(bad.id).await.error.unwrap();
    assert_eq!((error.error_type, error.message.as_str()), (ErrorType::Unhandled, "the agent's handler panicked"));
    mesh.dispatch(TINY, &good).await;
    assert!(mesh.result(good.id).await.success);
    running.end().await;
}

#[tokio::test]
async fn a_handler_that_hangs_is_ended_at_the_attempts_deadline() {
    let mesh = Mesh::new().await;
    let running = mesh.start(Tiny::new(1)).await;
    let request = TaskRequest { timeout: 1, ..request("tiny", json!({"do": "hang"})) };
    let began = Instant::now();
    mesh.dispatch(TINY, &request).await;
    let result = mesh.result(request.id).await;
    assert_eq!(result.error.unwrap().error_type, ErrorType::Timeout);
    assert!((500..5_000).contains(&result.duration_ms), "{} ms", result.duration_ms);
    assert!(began.elapsed() > Duration::from_millis(900));
    running.end().await;
}

#[tokio::test]
async fn a_model_that_hangs_is_on_record_when_its_task_times_out() {
    let mesh = Mesh::new().await;
    mesh.model.always(Reply::Hang);
    let running = mesh.start(mesh_six_agents::find("simple-agent").unwrap()).await;
    let request = TaskRequest { timeout: 1, ..request("general-query", json!({"query": "why?"})) };
    mesh.dispatch("simple-agent", &request).await;
    assert_eq!(mesh.result(request.id).await.error.unwrap().error_type, ErrorType::Timeout);
    running.end().await;
    assert_eq!(mesh.events(request.id).await, ["llm.call", "llm.response", "task.result"]);
}

#[tokio::test]
async fn answers_that_do_not_fit_their_schema_fail_the_attempt_and_each_request_is_on_record() {
    let mesh = Mesh::new().await;
    mesh.model.script([Reply::json(&json!({"approved": "perhaps"})), Reply::text("I would rather not")]);
    let running = mesh.start(Tiny::new(1)).await;
    let bad = request("tiny", json!({"do": "judge"}));
    mesh.dispatch(TINY, &bad).await;
    let result = mesh.result(bad.id).await;
    assert!(!result.success);
    assert_eq!(result.error.unwrap().error_type, ErrorType::LlmError);
    // The second time the model hears what is wrong with its first answer.
    mesh.model.script([Reply::json(&json!({"approved": 1})), Reply::json(&json!({"approved": true}))]);
    let mended = request("tiny", json!({"do": "judge"}));
    mesh.dispatch(TINY, &mended).await;
    assert!(mesh.result(mended.id).await.success);
    running.end().await;
    let asked_twice = ["llm.call", "llm.response", "llm.call", "llm.response", "task.result"];
    assert_eq!(mesh.events(bad.id).await, asked_twice);
    assert_eq!(mesh.events(mended.id).await, asked_twice);
    assert_eq!(mesh.model.calls().len(), 4);
}

#[tokio::test]
async fn a_cancelled_task_is_given_up_at_the_next_renewal() {
    let mesh = Mesh::new().await;
    let config = AgentConfig { lease: Duration::from_millis(300), ..mesh.config() };
    let agent = Tiny::new(1);
    let running = mesh.start_with(agent.clone(), config).await;
    let request = request("tiny", json!({"do": "hang"}));
    mesh.dispatch(TINY, &request).await;
    wait_until(SOON, async || agent.runs() == 1).await;
    let sql = "UPDATE task_attempts SET outcome = 'cancelled', ended_at = now()";
    mesh.client().await.execute(sql, &[]).await.unwrap();
    let result = mesh.result(request.id).await;
    assert_eq!(result.error.unwrap().error_type, ErrorType::Cancelled);
    assert_eq!(mesh.text("SELECT late::text FROM agent_inbox").await.as_deref(), Some("true"));
    running.end().await;
}

#[tokio::test]
async fn a_lease_is_renewed_for_as_long_as_the_work_takes() {
    let mesh = Mesh::new().await;
    let config = AgentConfig { lease: Duration::from_secs(1), ..mesh.config() };
    let agent = Tiny::new(1);
    let running = mesh.start_with(agent.clone(), config).await;
    let request = request("tiny", json!({"do": "wait"}));
    mesh.dispatch(TINY, &request).await;
    wait_until(SOON, async || agent.runs() == 1).await;
    let lease = "SELECT lease_until::text FROM agent_inbox WHERE state = 'running' AND lease_until > now()";
    let first = wait_for(SOON, async || mesh.text(lease).await).await;
    wait_until(SOON, async || mesh.text(lease).await.is_some_and(|now| now > first)).await;
    agent.gate.add_permits(1);
    assert!(mesh.result(request.id).await.success);
    running.end().await;
}

#[tokio::test]
async fn a_result_that_is_ready_while_the_database_is_away_is_written_when_it_is_back() {
    let mut mesh = Mesh::with_own_server().await;
    let agent = Tiny::new(2);
    let running = mesh.start(agent.clone()).await;
    let request = request("tiny", json!({"do": "wait"}));
    mesh.dispatch(TINY, &request).await;
    wait_until(SOON, async || agent.runs() == 1).await;

    mesh.stop_database().await;
    agent.gate.add_permits(1);
    wait_until(SOON, async || mesh.progress(request.id) == ["started", "waiting", "finished"]).await;
    assert!(mesh.results(request.id).is_empty(), "published before it was written");
    mesh.restart_database().await;

    let result: TaskResult = mesh.result(request.id).await;
    assert!(result.success);
    assert_eq!(agent.runs(), 1);
    assert_eq!(mesh.events(request.id).await, ["task.result"]);
    running.end().await;
}

#[tokio::test]
async fn a_delivery_while_the_database_is_away_comes_again() {
    let mut mesh = Mesh::with_own_server().await;
    let agent = Tiny::new(1);
    let running = mesh.start(agent.clone()).await;
    let (first, second) = (request("tiny", json!({})), request("tiny", json!({})));
    mesh.dispatch(TINY, &first).await;
    mesh.result(first.id).await;
    // The attempt is on record, but its message comes only when the database is away.
    mesh.dispatch("nobody", &second).await;
    let sql = "UPDATE task_attempts SET agent_id = 'tiny-agent' WHERE agent_id = 'nobody'";
    mesh.client().await.execute(sql, &[]).await.unwrap();
    mesh.stop_database().await;
    let sidecar = mesh.sidecar();
    let message = mesh_six_sidecar::Message {
        id: "late".to_owned(),
        topic: mesh_six_core::names::task_topic(TINY),
        time: mesh_six_core::time::now(),
        traceparent: None,
        data: json!(second),
    };
    let publishing = tokio::spawn(async move { sidecar.publish(message).await });
    wait_until(SOON, async || mesh.local.under_way() == 1).await;
    mesh.restart_database().await;
    let result = mesh.result_within(LONGEST_PAUSE * 2, second.id).await;
    assert!(result.success);
    // On a slow machine its publisher was told meanwhile that the message stays queued.
    assert!(publishing.await.unwrap().err().is_none_or(|error| error.is_transient()));
    wait_until(SOON, async || mesh.local.under_way() == 0).await;
    running.end().await;
    assert_eq!(agent.runs(), 2);
}

#[tokio::test]
async fn an_event_that_can_never_be_written_does_not_cost_the_result() {
    let mesh = Mesh::new().await;
    let running = mesh.start(Tiny::new(1)).await;
    let request = request("tiny", json!({"do": "tell nonsense"}));
    mesh.dispatch(TINY, &request).await;
    assert!(mesh.result(request.id).await.success);
    running.end().await;
    assert_eq!(mesh.events(request.id).await, ["task.result"]);
}

#[tokio::test]
async fn an_answer_that_the_database_refuses_becomes_a_failure() {
    let mesh = Mesh::new().await;
    let refusal = "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
            BEGIN RAISE EXCEPTION 'not this one'; END $$;
        CREATE TRIGGER refuse BEFORE UPDATE ON agent_inbox FOR EACH ROW
            WHEN (NEW.result -> 'success' = 'true') EXECUTE FUNCTION refuse()";
    mesh.client().await.batch_execute(refusal).await.unwrap();
    let running = mesh.start(Tiny::new(1)).await;
    let request = request("tiny", json!({}));
    mesh.dispatch(TINY, &request).await;
    let error = mesh.result(request.id).await.error.unwrap();
    let told = (error.error_type, error.message.as_str());
    assert_eq!(told, (ErrorType::Unhandled, "the agent's answer could not be stored"));
    running.end().await;
    assert_eq!(mesh.events(request.id).await, ["task.result"]);
}
