//! The inbox: redelivery, replicas, bad messages, priorities.

use mesh_six_core::{ErrorType, task::TaskResult};
use mesh_six_testing::{Reply, wait_until};
use serde_json::json;
use std::time::Duration;

use crate::{
    mesh::{Mesh, SOON, request},
    tiny::{TINY, Tiny},
};

#[tokio::test]
async fn the_same_attempt_delivered_again_is_answered_from_the_inbox() {
    let mesh = Mesh::new().await;
    let running = mesh.start(mesh_six_agents::find("simple-agent").unwrap()).await;
    let request = request("general-query", json!({"query": "why?"}));
    mesh.dispatch("simple-agent", &request).await;
    mesh.send("simple-agent", &request).await;
    mesh.result(request.id).await;
    let published = "SELECT task_id::text FROM agent_inbox WHERE state = 'published'";
    wait_until(SOON, async || mesh.text(published).await.is_some()).await;
    let before = mesh.results(request.id).len();
    mesh.send("simple-agent", &request).await;
    wait_until(SOON, async || mesh.results(request.id).len() > before).await;
    running.end().await;

    assert_eq!(mesh.model.calls().len(), 1);
    let results = mesh.results(request.id);
    assert!(results.iter().all(|(envelope, result)| {
        (&envelope.id, &envelope.time, result) == (&results[0].0.id, &results[0].0.time, &results[0].1)
    }));
    assert_eq!(mesh.events(request.id).await, ["llm.call", "llm.response", "task.result"]);
}

#[tokio::test]
async fn two_replicas_share_the_queue_and_run_each_request_once() {
    let mesh = Mesh::new().await;
    let (first, second) = (Tiny::new(2), Tiny::new(2));
    let running = mesh.start(first.clone()).await;
    let replica = mesh.replica(second.clone(), mesh.config());
    let requests: Vec<_> = (0..12).map(|_| request("tiny", json!({"do": "wait"}))).collect();
    for request in &requests {
        mesh.dispatch(TINY, request).await;
    }
    // Each has room for two, and neither ends one before the other has begun.
    wait_until(SOON, async || (first.runs(), second.runs()) == (2, 2)).await;
    first.gate.add_permits(12);
    second.gate.add_permits(12);
    for request in &requests {
        assert!(mesh.result(request.id).await.success);
    }
    assert_eq!(first.runs() + second.runs(), 12);
    running.end().await;
    replica.end().await;
    let owners = "SELECT count(DISTINCT claimed_by)::text FROM agent_inbox WHERE state = 'published'";
    assert_eq!(mesh.text(owners).await.as_deref(), Some("2"));
}

#[tokio::test]
async fn the_most_urgent_request_goes_first() {
    let mesh = Mesh::new().await;
    let agent = Tiny::new(1);
    let running = mesh.start(agent.clone()).await;
    let first = request("tiny", json!({"do": "wait"}));
    mesh.dispatch(TINY, &first).await;
    wait_until(SOON, async || agent.runs() == 1).await;
    let mut waiting = Vec::new();
    for priority in [1, 9, 5] {
        let request = mesh_six_core::task::TaskRequest { priority, ..request("tiny", json!({})) };
        mesh.dispatch(TINY, &request).await;
        waiting.push(request.id);
    }
    agent.gate.add_permits(1);
    let mut ended: Vec<TaskResult> = Vec::new();
    for task in waiting {
        ended.push(mesh.result(task).await);
    }
    running.end().await;
    let [low, high, middle] = ended.try_into().unwrap();
    assert!(high.completed_at <= middle.completed_at && middle.completed_at <= low.completed_at);
}

#[tokio::test]
async fn a_malformed_request_is_dropped_with_its_reason_and_the_next_one_goes_through() {
    let mesh = Mesh::new().await;
    let agent = Tiny::new(1);
    let running = mesh.start(agent.clone()).await;
    let good = request("tiny", json!({}));
    for (field, value) in [("priority", json!(11)), ("id", json!("no uuid")), ("timeout", json!(0))] {
        let mut bad = json!(request("tiny", json!({})));
        bad[field] = value;
        mesh.send_raw(TINY, bad).await;
        let reason = format!("SELECT reason FROM dead_letters WHERE reason LIKE '{field}:%' AND app_id = '{TINY}'");
        assert!(mesh.text(&reason).await.is_some(), "{field}");
    }
    mesh.dispatch(TINY, &good).await;
    assert!(mesh.result(good.id).await.success);
    running.end().await;
    assert_eq!(agent.runs(), 1);
}

#[tokio::test]
async fn what_nobody_asked_this_agent_for_becomes_a_dead_letter() {
    let mesh = Mesh::new().await;
    let agent = Tiny::new(1);
    let running = mesh.start(agent.clone()).await;
    let (unknown, good) = (request("tiny", json!({})), request("tiny", json!({})));
    mesh.send(TINY, &unknown).await;
    mesh.dispatch(TINY, &good).await;
    mesh.result(good.id).await;
    running.end().await;
    assert_eq!(agent.runs(), 1);
    let letters = mesh.text("SELECT string_agg(reason, '; ') FROM dead_letters").await;
    assert_eq!(letters.as_deref(), Some("id: nobody asked this agent for that attempt"));
}

#[tokio::test]
async fn a_capability_that_the_agent_lacks_fails_for_good() {
    let mesh = Mesh::new().await;
    let agent = Tiny::new(1);
    let running = mesh.start(agent.clone()).await;
    let request = request("juggling", json!({}));
    mesh.dispatch(TINY, &request).await;
    let error = mesh.result(request.id).await.error.unwrap();
    assert_eq!((error.error_type, agent.runs()), (ErrorType::Validation, 0), "{}", error.message);
    running.end().await;
}

#[tokio::test]
async fn a_large_answer_travels_by_reference_and_a_huge_one_is_refused() {
    let mesh = Mesh::new().await;
    let running = mesh.start(Tiny::new(1)).await;
    let (large, huge) = (request("tiny", json!({"do": "large"})), request("tiny", json!({"do": "huge"})));
    mesh.dispatch(TINY, &large).await;
    let message = mesh.result(large.id).await;
    assert!(message.success && message.result.is_none());
    assert_eq!(message.result_ref.as_deref(), Some("inbox"));
    let sql = format!(
        "SELECT length(result #>> '{{result,response}}')::text FROM agent_inbox WHERE task_id = '{}'",
        large.id
    );
    assert_eq!(mesh.text(&sql).await, Some((200 * 1024).to_string()));
    mesh.dispatch(TINY, &huge).await;
    assert_eq!(mesh.result(huge.id).await.error.unwrap().error_type, ErrorType::PayloadTooLarge);
    running.end().await;
}

#[tokio::test]
async fn no_more_requests_run_at_once_than_the_agent_allows() {
    let mesh = Mesh::new().await;
    mesh.model.always(Reply::text("stub answer").after(Duration::from_millis(20)));
    let agent = Tiny::new(3);
    let running = mesh.start(agent.clone()).await;
    let requests: Vec<_> = (0..7).map(|_| request("tiny", json!({"do": "wait"}))).collect();
    for request in &requests {
        mesh.dispatch(TINY, request).await;
    }
    wait_until(SOON, async || agent.runs() == 3).await;
    let queued = "SELECT count(*)::text FROM agent_inbox WHERE state = 'queued'";
    assert_eq!(mesh.text(queued).await.as_deref(), Some("4"));
    agent.gate.add_permits(7);
    for request in &requests {
        mesh.result(request.id).await;
    }
    running.end().await;
}
