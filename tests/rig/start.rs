//! From empty folders to an answer.

use serde_json::Value;

use crate::support::{SOON, all, finished, http, start, submit};
use mesh_six_testing::wait_until;

#[tokio::test]
#[ignore = "runs in a network namespace: cargo xtask test"]
async fn m1_11_a_task_goes_through_real_sidecars_and_a_real_broker() {
    let rig = start(all()).await;
    eprintln!("from empty folders to ready: {:.1} s", rig.ready_after().as_secs_f64());
    let (orchestrator, logger) = (rig.url("orchestrator"), rig.url("event-logger"));
    let accepted = submit(&orchestrator, "general-query", "Why is the sky blue?").await;
    let id = accepted["taskId"].as_str().unwrap();
    assert_eq!((&accepted["dispatchedTo"], &accepted["status"]), (&"simple-agent".into(), &"dispatched".into()));
    let task = finished(&orchestrator, id).await;
    assert_eq!(task["status"], "completed", "{task:#}");
    assert!(!task["result"]["response"].as_str().unwrap_or_default().is_empty(), "{task:#}");
    // What the database holds by both ways, once each.
    let wanted = ["task.submitted", "task.dispatched", "llm.call", "llm.response", "task.result", "task.completed"];
    let mut types = Vec::new();
    wait_until(SOON, async || {
        let answer = http().get(format!("{logger}/api/v1/events?taskId={id}")).send().await.unwrap();
        let page: Value = answer.json().await.unwrap();
        types = page["events"].as_array().unwrap().iter().map(|event| event["eventType"].clone()).collect();
        wanted.iter().all(|wanted| types.iter().any(|found| found == wanted))
    })
    .await;
    for wanted in wanted {
        assert_eq!(types.iter().filter(|found| *found == wanted).count(), 1, "{wanted}: {types:?}");
    }
    rig.shut_down().await;
}
