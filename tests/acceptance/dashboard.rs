//! The dashboard's broker: what it hears of a mesh, and that a mesh does not need it.

use std::time::{Duration, Instant};

use mesh_six_testing::{Heard, Mosquitto, Reply, StubModel, TestDatabase, wait_until};
use serde_json::Value;

use crate::mesh::{Mesh, http};

const LONG: Duration = Duration::from_mins(1);

#[tokio::test(flavor = "multi_thread")]
async fn the_dashboard_hears_of_agents_and_tasks() {
    let (database, model) = (TestDatabase::new().await, StubModel::start().await);
    model.always(Reply::text("Because of Rayleigh scattering."));
    let broker = Mosquitto::with_login("mesh", "hunter2").await;
    let (url, mut listener) = (broker.url(), broker.listen("#").await);
    let envs = [
        ("DATABASE_URL", database.url()),
        ("MQTT_URL", url.as_str()),
        ("MQTT_USERNAME", "mesh"),
        ("MQTT_PASSWORD", "hunter2"),
    ];
    let mut mesh = Mesh::start(&["--llm-url", model.url(), "--model", "stub"], &envs);
    let task = mesh.json(&["submit", "Why is the sky blue?", "--json"]).remove(0);
    let mut heard = listener.until(|heard| heard.payload["status"] == "completed").await;

    let late = broker.listen("agent/registry/#").await.next().await;
    assert!(late.retained && late.payload["status"] == "online", "a dashboard opened later knows the agents: {late:?}");

    mesh.signal("INT");
    assert_eq!(mesh.wait(LONG), Some(0));
    let agent = "agent/registry/simple-agent";
    heard.extend(listener.until(|heard| heard.topic == agent && heard.payload["status"] == "offline").await);
    // Whatever other agents there are.
    heard.retain(|heard| heard.topic == agent || !heard.topic.starts_with("agent/registry/"));
    let heard: Vec<(String, Value)> = heard.into_iter().map(|Heard { topic, payload, .. }| (topic, payload)).collect();
    let text = serde_json::to_string(&heard).unwrap();
    assert!(!text.contains("Rayleigh") && !text.contains("sky"), "neither prompts nor answers: {text}");
    let id = task["taskId"].as_str().unwrap().to_owned();
    let topic = insta::dynamic_redaction(move |topic, _| topic.as_str().unwrap_or_default().replace(&id, "[task]"));
    insta::assert_json_snapshot!(heard, {
        "[][0]" => topic,
        "[][1].taskId" => "[task]",
        "[][1].timestamp" => "[time]",
        "[][1].lastHeartbeat" => "[time]",
        "[][1].durationMs" => "[duration]",
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn tasks_go_on_while_the_broker_is_away_and_are_told_when_it_is_back() {
    let database = TestDatabase::new().await;
    let mut broker = Mosquitto::start().await;
    let mesh = Mesh::start(&[], &[("DATABASE_URL", database.url()), ("MQTT_URL", &broker.url())]);
    let metrics = format!("{}/metrics", mesh.url);
    let connected = async |value: &str| {
        let text = http().get(&metrics).send().await.unwrap().text().await.unwrap();
        text.contains(&format!("mesh_six_mqtt_connected {value}\n"))
    };
    wait_until(LONG, async || connected("1").await).await;
    broker.stop();
    wait_until(LONG, async || connected("0").await).await;
    let begun = Instant::now();
    let missed = mesh.json(&["submit", "hello", "--json"]).remove(0);
    assert_eq!(missed["status"], "completed");
    assert!(begun.elapsed() < Duration::from_secs(10), "nobody waits for the broker");
    broker.restart().await;
    let mut listener = broker.listen("agent/task/#").await;
    wait_until(LONG, async || connected("1").await).await;
    let task = mesh.json(&["submit", "hello again", "--json"]).remove(0);
    let heard = listener.until(|h| h.payload["taskId"] == task["taskId"] && h.payload["status"] == "completed").await;
    let statuses: Vec<&str> = heard
        .iter()
        .filter(|heard| heard.payload["taskId"] == task["taskId"])
        .map(|heard| heard.payload["status"].as_str().unwrap())
        .collect();
    assert_eq!(statuses, ["dispatched", "completed"]);
}
