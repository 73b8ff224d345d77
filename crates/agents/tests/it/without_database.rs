//! E.10: an agent without `DATABASE_URL` works, and its facts take the passive path alone.

use mesh_six_core::{ErrorType, event::catalogue, task::TaskRequest};
use mesh_six_runtime::agent::AgentConfig;
use mesh_six_testing::wait_until;
use serde_json::json;
use std::time::Duration;

use crate::{
    mesh::{Mesh, SOON, request},
    tiny::{TINY, Tiny},
};

#[tokio::test]
async fn e_10_two_paths_the_message_alone_carries_the_facts() {
    let mesh = Mesh::without_database().await;
    let running = mesh.start(mesh_six_agents::find("simple-agent").unwrap()).await;
    let request = request("general-query", json!({"query": "why?"}));
    mesh.dispatch("simple-agent", &request).await;
    let result = mesh.result(request.id).await;
    assert!(result.success);
    running.end().await;
    assert_eq!(mesh.model.calls().len(), 1);
    assert_eq!(mesh.progress(request.id), ["started", "finished"]);
    // What the event logger makes of it has the key that the direct path would have used.
    let event = catalogue::task_result(&result, false);
    assert_eq!(event.idempotency_key, Some(format!("result:{}:1:simple-agent", request.id)));
    assert_eq!(event.payload["source"], "message");
}

#[tokio::test]
async fn a_redelivery_runs_nothing_twice_in_memory_either() {
    let mesh = Mesh::without_database().await;
    let agent = Tiny::new(1);
    let running = mesh.start(agent.clone()).await;
    let request = request("tiny", json!({"do": "wait"}));
    mesh.dispatch(TINY, &request).await;
    mesh.send(TINY, &request).await;
    agent.gate.add_permits(5);
    mesh.result(request.id).await;
    wait_until(SOON, async || mesh.local.under_way() == 0).await;
    mesh.send(TINY, &request).await;
    wait_until(SOON, async || mesh.results(request.id).len() == 2).await;
    running.end().await;
    assert_eq!(agent.runs(), 1);
    let results = mesh.results(request.id);
    assert_eq!((&results[0].0.id, &results[0].1), (&results[1].0.id, &results[1].1));
}

#[tokio::test]
async fn faults_of_the_handler_are_answered_in_memory_too() {
    let mesh = Mesh::without_database().await;
    let running = mesh.start(Tiny::new(4)).await;
    for (what, error_type) in
        [("panic", ErrorType::Unhandled), ("hang", ErrorType::Timeout), ("large", ErrorType::PayloadTooLarge)]
    {
        let request = TaskRequest { timeout: 1, ..request("tiny", json!({"do": what})) };
        mesh.dispatch(TINY, &request).await;
        assert_eq!(mesh.result(request.id).await.error.unwrap().error_type, error_type, "{what}");
    }
    running.end().await;
}

#[tokio::test]
async fn at_the_end_the_queue_in_memory_is_given_up_too() {
    let mesh = Mesh::without_database().await;
    let config = AgentConfig { grace: Duration::from_millis(200), ..mesh.config() };
    let agent = Tiny::new(1);
    let running = mesh.start_with(agent.clone(), config).await;
    let requests = [request("tiny", json!({"do": "hang"})), request("tiny", json!({}))];
    mesh.dispatch(TINY, &requests[0]).await;
    wait_until(SOON, async || agent.runs() == 1).await;
    mesh.dispatch(TINY, &requests[1]).await;
    running.end().await;
    for request in &requests {
        let result = mesh.results(request.id).remove(0).1;
        assert_eq!(result.error.unwrap().error_type, ErrorType::Unavailable);
    }
    assert_eq!(agent.runs(), 1);
}
