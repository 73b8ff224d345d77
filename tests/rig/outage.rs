//! A server that loses what it had.

use std::time::Duration;

use mesh_six_testing::wait_until;
use serde_json::Value;

use crate::support::{all, finished, http, start, submit};

const AGENT: &str = "simple-agent";
/// A heartbeat comes every 30 s; a busy machine is late.
const HEARTBEAT: Duration = Duration::from_mins(1);

#[tokio::test]
#[ignore = "runs in a network namespace: cargo xtask test"]
async fn a_store_that_has_forgotten_everything_knows_the_agents_again_after_a_heartbeat() {
    let rig = start(all()).await;
    let url = rig.url("orchestrator");
    let agents = async || -> Value {
        let answer = http().get(format!("{url}/api/v1/agents")).send().await.unwrap();
        answer.json::<Value>().await.unwrap()["agents"].take()
    };
    let known = |agents: &Value| -> Vec<Value> {
        let agents = agents.as_array().cloned().unwrap_or_default();
        agents
            .into_iter()
            .map(|mut agent| {
                agent.as_object_mut().unwrap().remove("lastHeartbeat");
                agent
            })
            .collect()
    };
    let before = known(&agents().await);
    assert!(before.iter().any(|agent| agent["appId"] == AGENT && agent["status"] == "online"), "{before:#?}");
    rig.redis().lock().await.flush().await.unwrap();
    let begin = std::time::Instant::now();
    wait_until(HEARTBEAT, async || known(&agents().await) == before).await;
    eprintln!("the registry was whole again after {:.1} s", begin.elapsed().as_secs_f64());
    let accepted = submit(&url, "general-query", "Who is there?").await;
    assert_eq!(finished(&url, accepted["taskId"].as_str().unwrap()).await["status"], "completed");
    rig.shut_down().await;
}
