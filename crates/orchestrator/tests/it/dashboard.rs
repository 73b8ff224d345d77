//! What the dashboard hears of a task's way.

use mesh_six_core::ErrorType;
use mesh_six_runtime::{MapEnv, Mqtt, MqttSettings};
use mesh_six_testing::Mosquitto;
use serde_json::{Value, json};

use crate::{
    agent::{Act, fine},
    rig::Rig,
};

fn told(url: &str) -> Mqtt {
    Mqtt::start(&MqttSettings::from_env(&MapEnv::new([("MQTT_URL", url)])).unwrap().unwrap())
}

#[tokio::test]
async fn the_dashboard_hears_each_attempt_and_the_end() {
    let broker = Mosquitto::start().await;
    let mut listener = broker.listen("agent/task/#").await;
    let rig = Rig::telling(told(&broker.url())).await;
    rig.agent("fails", 0.9, |_| Act::Answer(Err(ErrorType::LlmError))).await;
    rig.agent("silent", 0.7, |_| Act::Hang).await;
    rig.agent("answers", 0.5, |_| Act::Answer(fine())).await;
    // Long enough for the one that answers, on a busy machine too.
    let task = rig.submit(json!({"timeout": 5})).await;
    let heard = listener.until(|heard| heard.payload["status"] == "completed").await;
    assert!(heard.iter().all(|h| h.topic == format!("agent/task/{task}") && !h.retained));
    let notes: Vec<Value> = heard.into_iter().map(|h| h.payload).collect();
    insta::assert_json_snapshot!(notes, {
        "[].taskId" => "[task]",
        "[].timestamp" => "[time]",
        "[].durationMs" => "[duration]",
    });
}

#[tokio::test]
async fn the_dashboard_hears_of_failed_and_cancelled_tasks() {
    let broker = Mosquitto::start().await;
    let mut listener = broker.listen("agent/task/#").await;
    let rig = Rig::telling(told(&broker.url())).await;
    let agent = rig.agent("a", 0.9, |_| Act::Answer(Err(ErrorType::Permission))).await;
    let failed = rig.submit(json!({})).await;
    let end = listener.until(|heard| heard.payload["status"] == "failed").await.pop().unwrap().payload;
    assert_eq!((&end["taskId"], &end["errorType"]), (&json!(failed), &json!("permission")));
    drop(agent);
    rig.agent("silent", 1.0, |_| Act::Hang).await;
    let task = rig.submit(json!({})).await;
    let path = format!("/api/v1/tasks/{task}");
    assert_eq!(rig.call(axum::http::Method::DELETE, &path, &[], axum::body::Body::empty()).await.0, 200);
    let end = listener.until(|heard| heard.payload["status"] == "cancelled").await.pop().unwrap().payload;
    assert_eq!((&end["taskId"], &end["agentId"]), (&json!(task), &json!("silent")));
}
