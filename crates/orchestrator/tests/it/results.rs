//! Results that are late, forged, lost, or somebody else's.

use mesh_six_core::{ErrorType, TraceId, id::new_id, names::TASK_RESULTS, time};
use mesh_six_sidecar::Message;
use mesh_six_testing::{
    samples::{message, with},
    wait_until,
};
use serde_json::{Value, json};

use crate::{
    agent::{Act, fine, registration},
    rig::{LONG, Rig},
};

/// The reasons of the task's rejected results.
async fn rejections(rig: &Rig, task: uuid::Uuid) -> Vec<String> {
    let rejected = "SELECT payload->>'reason' FROM mesh_six_events WHERE task_id::text = $1 \
        AND event_type = 'task.result.rejected' ORDER BY txid, seq";
    let rows = rig.sql().await.query(rejected, &[&task.to_string()]).await.unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

#[tokio::test]
async fn a_result_whose_message_was_lost_is_found_in_the_inbox() {
    let rig = Rig::new().await;
    rig.agent("a", 0.9, |_| Act::AnswerUnheard(fine())).await;
    let task = rig.submit(json!({})).await;
    let done = rig.task_in(task, "completed").await;
    assert_eq!(done["result"], json!({"response": "42"}));
}

#[tokio::test]
async fn an_agent_without_a_database_is_believed_and_its_event_says_so() {
    let rig = Rig::new().await;
    rig.agent("a", 0.9, |_| Act::AnswerByMessage(fine())).await;
    let task = rig.submit(json!({})).await;
    rig.task_in(task, "completed").await;
    let source = "SELECT payload->>'source' FROM mesh_six_events WHERE event_type = 'task.result'";
    let rows = rig.sql().await.query(source, &[]).await.unwrap();
    assert_eq!(rows.iter().map(|r| r.get::<_, Option<String>>(0)).collect::<Vec<_>>(), [Some("message".to_owned())]);
}

#[tokio::test]
async fn an_answer_with_a_foreign_trace_or_none_counts_under_the_tasks_own() {
    let rig = Rig::new().await;
    let a = rig.agent("a", 0.9, |_| Act::Lose).await;
    for trace in [json!("abc"), Value::Null] {
        let task = rig.submit(json!({})).await;
        wait_until(LONG, async || a.seen().iter().any(|r| r.id == task)).await;
        let request = a.seen().into_iter().find(|r| r.id == task).unwrap();
        let data = with(json!(a.result(&request, fine())), "traceId", trace);
        rig.mesh.sidecar("a").publish(message(TASK_RESULTS, data)).await.unwrap();
        assert_eq!(rig.task_in(task, "completed").await["result"], json!({"response": "42"}));
        let traces = "SELECT DISTINCT replace(trace_id::text, '-', '') FROM mesh_six_events WHERE task_id::text = $1";
        let traces = rig.sql().await.query(traces, &[&task.to_string()]).await.unwrap();
        let traces: Vec<String> = traces.iter().map(|row| row.get(0)).collect();
        assert_eq!(traces, [request.trace_id.to_string()]);
    }
}

#[tokio::test]
async fn an_agent_with_a_database_is_not_believed_on_a_message_alone() {
    let rig = Rig::new().await;
    rig.agent("a", 0.9, |_| Act::AnswerByMessage(fine())).await;
    let mut agent = registration("a", 0.9);
    agent.metadata = Some(json!({"inbox": "database"}));
    rig.registry.register(&agent).await.unwrap();
    let task = rig.submit(json!({})).await;
    wait_until(LONG, async || rejections(&rig, task).await == ["forged"]).await;
    assert_eq!(rig.task(task).await["status"], "dispatched");
}

#[tokio::test]
async fn a_late_success_completes_a_task_that_goes_on_and_a_late_failure_does_not_end_it() {
    for (answer, status) in [(Err(ErrorType::LlmError), "dispatched"), (fine(), "completed")] {
        // One each, since the first timeout costs the agent its place.
        let rig = Rig::new().await;
        let slow = rig.agent("slow", 0.9, |_| Act::Hang).await;
        let next = rig.agent("next", 0.5, |_| Act::Hang).await;
        let task = rig.submit(json!({"timeout": 2})).await;
        wait_until(LONG, async || next.seen().iter().any(|r| r.id == task)).await;
        let request = slow.seen().into_iter().find(|r| r.id == task).unwrap();
        let result = slow.result(&request, answer.clone());
        slow.finish(&result).await;
        slow.publish(&result).await;
        let now = rig.task(task).await;
        assert_eq!(now["status"], status);
        let late: &[&str] = if answer.is_err() { &["late"] } else { &[] };
        assert_eq!(rejections(&rig, task).await, late);
        if answer.is_ok() {
            assert_eq!(now["dispatchedTo"], "slow");
            let end = "SELECT outcome FROM task_attempts WHERE task_id::text = $1 ORDER BY attempt";
            let rows = rig.sql().await.query(end, &[&task.to_string()]).await.unwrap();
            assert_eq!(rows.iter().map(|r| r.get(0)).collect::<Vec<String>>(), ["timeout", "cancelled"]);
        }
        assert_eq!(rig.history(task).await.len(), 1, "only the timeout is on record");
    }
}

#[tokio::test]
async fn what_the_inbox_does_not_hold_is_rejected_once() {
    let rig = Rig::new().await;
    let a = rig.agent("a", 0.9, |_| Act::Hang).await;
    let other = rig.agent("other", 0.1, |_| Act::Hang).await;
    let task = rig.submit(json!({})).await;
    wait_until(LONG, async || !a.seen().is_empty()).await;
    let request = a.seen()[0].clone();
    for _ in 0..3 {
        // The inbox has the attempt, but no answer yet.
        a.publish(&a.result(&request, fine())).await;
        other.publish(&other.result(&request, fine())).await;
        // Somebody who says to be the agent.
        other.publish(&a.result(&request, Ok(json!({"response": "forged"})))).await;
    }
    let mut reasons = rejections(&rig, task).await;
    reasons.sort();
    assert_eq!(reasons, ["forged", "wrong_agent"]);
    assert_eq!(rig.task(task).await["status"], "dispatched");
    let real = a.result(&request, fine());
    a.finish(&real).await;
    rig.task_in(task, "completed").await;
    a.publish(&a.result(&request, Ok(json!({"response": "forged"})))).await;
    assert_eq!(rig.task(task).await["result"], json!({"response": "42"}));
    assert_eq!(rig.history(task).await.len(), 1);
}

#[tokio::test]
async fn results_of_unknown_tasks_are_acknowledged_and_malformed_ones_become_dead_letters() {
    let rig = Rig::new().await;
    let a = rig.agent("a", 0.9, |_| Act::Answer(fine())).await;
    let task = rig.submit(json!({})).await;
    rig.task_in(task, "completed").await;
    let mut unknown = a.seen()[0].clone();
    unknown.id = new_id();
    a.publish(&a.result(&unknown, fine())).await;
    let mut bad = serde_json::to_value(a.result(&a.seen()[0], fine())).unwrap();
    bad["durationMs"] = json!(-1);
    for (id, data) in [("negative", bad), ("nothing", Value::Null)] {
        let message = Message {
            id: id.to_owned(),
            topic: TASK_RESULTS.to_owned(),
            time: time::now(),
            traceparent: Some(TraceId::new().to_traceparent()),
            data,
        };
        rig.mesh.sidecar("a").publish(message).await.unwrap();
    }
    let letters = rig.sql().await.query("SELECT id, app_id, reason FROM dead_letters ORDER BY id", &[]).await.unwrap();
    let letters: Vec<(String, String, String)> = letters.iter().map(|r| (r.get(0), r.get(1), r.get(2))).collect();
    assert_eq!(letters.len(), 2, "{letters:?}");
    assert_eq!((letters[0].0.as_str(), letters[0].1.as_str()), ("negative", "orchestrator"));
    assert!(letters[0].2.contains("durationMs"), "{letters:?}");
    assert_eq!(rig.mesh.under_way(), 0, "nothing is delivered again");
}
