//! Criteria of the first milestone, beside real Dapr.

use std::time::Duration;

use mesh_six_testing::{
    Reply, StubModel,
    rig::{InstanceSpec, Rig, RigSpec},
    wait_for, wait_until,
};
use serde_json::{Value, json};

use crate::support::{SOON, all, finished, http, start, submit};

/// A heartbeat comes every 30 s.
const HEARTBEAT: Duration = Duration::from_secs(90);

/// What the store holds under a key, as the orchestrator's sidecar tells it.
async fn state(rig: &Rig, key: &str) -> Option<Value> {
    let url = format!("{}/v1.0/state/agent-statestore/{key}", rig.sidecar_url("orchestrator"));
    let answer = http().get(url).header("dapr-api-token", rig.api_token()).send().await.unwrap();
    (answer.status() == 200).then_some(answer.json().await.unwrap())
}

#[tokio::test]
#[ignore = "runs in a network namespace: cargo xtask test"]
async fn m1_1_an_agent_registers_beats_and_leaves() {
    let rig = start(all()).await;
    let agent = state(&rig, "agent:simple-agent").await.unwrap();
    assert_eq!(agent["status"], "online", "{agent}");
    let capability = &agent["capabilities"][0];
    assert_eq!((&capability["name"], &capability["weight"]), (&json!("general-query"), &json!(0.8)));
    let index = state(&rig, "agent:_index").await.unwrap();
    assert_eq!(index.as_array().unwrap().iter().filter(|name| *name == "simple-agent").count(), 1, "{index}");
    let healthz = http().get(format!("{}/healthz", rig.url("simple-agent"))).send().await.unwrap();
    assert_eq!(healthz.status(), 200);
    wait_until(HEARTBEAT, async || {
        let later = state(&rig, "agent:simple-agent").await.unwrap();
        later["lastHeartbeat"].as_str() > agent["lastHeartbeat"].as_str()
    })
    .await;
    let status = rig.stop("simple-agent").await.unwrap();
    assert!(status.is_some_and(|status| status.success()), "{status:?}");
    assert_eq!(state(&rig, "agent:simple-agent").await.unwrap()["status"], "offline");
}

#[tokio::test]
#[ignore = "runs in a network namespace: cargo xtask test"]
async fn m1_2_a_request_has_exactly_one_result_and_a_failing_model_a_failed_one() {
    let model = StubModel::start().await;
    let rig = start(RigSpec { model_url: Some(model.url().to_owned()), ..all() }).await;
    let url = rig.url("orchestrator");
    model.script([Reply::text("because of Rayleigh"), Reply::status(401)]);
    let accepted = submit(&url, "general-query", "Why is the sky blue?").await;
    let task = finished(&url, accepted["taskId"].as_str().unwrap()).await;
    assert_eq!((&task["status"], &task["attempts"]), (&json!("completed"), &json!(1)), "{task:#}");
    assert_eq!(task["result"]["response"], "because of Rayleigh");
    let id = accepted["taskId"].as_str().unwrap();
    let results = events(&rig, id, "task.result", 1).await;
    assert_eq!(results[0]["payload"]["success"], true, "{results:#?}");
    assert!(results[0]["payload"]["durationMs"].as_u64().unwrap() > 0, "{results:#?}");
    // The agent's message arrived, and the event logger found the fact there already.
    let metrics = format!("{}/metrics", rig.url("event-logger"));
    wait_until(SOON, async || {
        let text = http().get(&metrics).send().await.unwrap().text().await.unwrap();
        let count = text.lines().find_map(|line| line.strip_prefix("mesh_six_events_duplicate_total "));
        count.is_some_and(|count| count != "0")
    })
    .await;

    model.always(Reply::status(401));
    let accepted = submit(&url, "general-query", "And at night?").await;
    let id = accepted["taskId"].as_str().unwrap();
    let task = finished(&url, id).await;
    assert_eq!(task["status"], "failed", "{task:#}");
    let results = events(&rig, id, "task.result", 1).await;
    assert_eq!(results[0]["payload"]["success"], false);
    assert!(results.iter().all(|result| result["payload"]["errorType"].is_string()), "{results:#?}");
}

/// The events of a task with this type, once there are so many.
async fn events(rig: &Rig, task: &str, kind: &str, at_least: usize) -> Vec<Value> {
    let url = format!("{}/api/v1/events?taskId={task}&eventType={kind}", rig.url("event-logger"));
    wait_for(SOON, async || {
        let page: Value = http().get(&url).send().await.ok()?.json().await.ok()?;
        let events = page["events"].as_array()?.clone();
        (events.len() >= at_least).then_some(events)
    })
    .await
}

#[tokio::test]
#[ignore = "runs in a network namespace: cargo xtask test"]
async fn m1_3_the_better_agent_gets_the_task_and_nobody_gets_what_nobody_can_do() {
    let model = StubModel::start().await;
    let spec = RigSpec { model_url: Some(model.url().to_owned()), ..all() };
    let rig = start(spec.with(InstanceSpec::as_app("simple-agent", "simple-agent-b"))).await;
    let url = rig.url("orchestrator");
    // Equally good at first; then one of them has failed.
    model.script([Reply::status(401)]);
    let first = submit(&url, "general-query", "Who answers?").await;
    let end = finished(&url, first["taskId"].as_str().unwrap()).await;
    assert_eq!((&end["status"], &end["attempts"]), (&json!("completed"), &json!(2)), "the other one answers: {end}");
    let failed = first["dispatchedTo"].as_str().unwrap();
    let better = if failed == "simple-agent" { "simple-agent-b" } else { "simple-agent" };
    wait_until(SOON, async || score(&url, failed).await < score(&url, better).await).await;
    let second = submit(&url, "general-query", "And now?").await;
    assert_eq!((&second["dispatchedTo"], &second["status"]), (&json!(better), &json!("dispatched")), "{second}");
    assert_eq!(finished(&url, second["taskId"].as_str().unwrap()).await["status"], "completed");

    let http = http();
    let post = async |body: &Value| http.post(format!("{url}/api/v1/tasks")).json(body).send().await.unwrap().status();
    assert_eq!(post(&json!({ "capability": "nobody-can", "payload": {} })).await, 503);
    assert_eq!(post(&json!({ "capability": "general-query" })).await, 400);
}

/// How an agent stands in the table.
async fn score(url: &str, agent: &str) -> f64 {
    let table = http().get(format!("{url}/api/v1/agents/score/general-query")).send().await.unwrap();
    let table: Value = table.json().await.unwrap();
    let row = table["scores"].as_array().unwrap().iter().find(|row| row["agentId"] == agent);
    row.unwrap_or_else(|| panic!("{agent} is not in {table}"))["finalScore"].as_f64().unwrap()
}

#[tokio::test]
#[ignore = "runs in a network namespace: cargo xtask test"]
async fn m1_7_every_component_loads_without_an_error() {
    let rig = start(all()).await;
    for (instance, components) in [
        ("orchestrator", &["agent-pubsub", "agent-statestore"][..]),
        ("simple-agent", &["agent-pubsub", "agent-statestore"]),
        ("event-logger", &["events-results", "events-tasks", "events-progress", "events-dead"]),
    ] {
        let log = rig.log(&format!("{instance}.daprd")).unwrap();
        for component in components {
            assert!(log.contains(&format!("Component loaded: {component} (")), "{instance}: {component}\n{log}");
        }
        assert_eq!(log.matches("Component loaded: ").count(), components.len(), "{instance}\n{log}");
        let complaints: Vec<&str> = log.lines().filter(|line| line.contains("level=error")).collect();
        assert!(complaints.is_empty(), "{instance}: {complaints:#?}");
    }
}
