//! E.10: the two ways into the log, each without the other.

use mesh_six_core::names::{EVENT_LOGGER, ORCHESTRATOR};
use mesh_six_testing::{rig::RigSpec, samples::AGENT, wait_until};
use serde_json::json;
use tokio_postgres::Client;

use crate::support::{SOON, all, finished, post_task, sql, start};

#[tokio::test]
#[ignore = "runs in a network namespace: cargo xtask test"]
async fn e_10_with_the_event_logger_off_a_tasks_story_is_complete() {
    let mut spec = all();
    spec.instances.retain(|instance| instance.name != EVENT_LOGGER);
    let story = ["task.submitted", "task.dispatched", "llm.call", "llm.response", "task.result", "task.completed"];
    tells(spec, &story).await;
}

#[tokio::test]
#[ignore = "runs in a network namespace: cargo xtask test"]
async fn e_10_with_the_direct_path_off_the_passive_facts_are_there() {
    let mut spec = all();
    for instance in &mut spec.instances {
        instance.database = instance.name != AGENT;
    }
    let facts =
        ["task.submitted", "task.dispatched", "task.progress", "task.progress", "task.result", "task.completed"];
    tells(spec, &facts).await;
}

/// One task through this rig leaves these events, and each once.
async fn tells(spec: RigSpec, events: &[&str]) {
    let rig = start(spec).await;
    let body = json!({ "capability": "general-query", "payload": { "query": "why?" } });
    let (task, agent) = post_task(&rig.url(ORCHESTRATOR), &body).await;
    let shown = finished(&rig.url(ORCHESTRATOR), &task).await;
    assert_eq!((&*agent, shown["status"].as_str(), shown["attempts"].as_u64()), (AGENT, Some("completed"), Some(1)));
    let log = sql(&rig).await;
    let mut expected = events.to_vec();
    expected.sort_unstable();
    // Notes come by their own way, perhaps after the end of the task.
    wait_until(SOON, async || logged(&log, &task).await.len() >= expected.len()).await;
    assert_eq!(logged(&log, &task).await, expected);
    rig.shut_down().await;
}

/// The types of the task's events.
async fn logged(log: &Client, task: &str) -> Vec<String> {
    let query = "SELECT event_type FROM mesh_six_events WHERE task_id::text = $1";
    let mut types: Vec<_> = log.query(query, &[&task]).await.unwrap().iter().map(|row| row.get(0)).collect();
    types.sort_unstable();
    types
}
