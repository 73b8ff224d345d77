//! Replay: one aggregate's story, in order.

use futures_util::TryStreamExt;
use mesh_six_core::{
    StoredEvent, TraceId, Usage,
    event::{
        Position,
        catalogue::{self, CallContext, LlmCall, LlmResponse, TaskEnd},
        replay::TaskState,
    },
    id::new_id,
    task::{TaskRequest, TaskResult, TaskStatus},
    time,
};
use mesh_six_db::events::{Appended, append_in};
use serde_json::json;

use super::{Rig, event, events, position};

const AGENT: &str = "simple-agent";

#[tokio::test]
async fn e_3_replay_gives_all_of_one_aggregate_after_a_position() {
    let rig = Rig::new().await;
    let task = new_id();
    // More than two pages, with others in between.
    let mut expected = Vec::new();
    for _ in 0..3 {
        let batch = events(1_500).into_iter().enumerate();
        let batch = batch.map(|(n, e)| if n % 2 == 0 { e.of_task(task) } else { e.of_task(new_id()) }).collect();
        let written = rig.log.append(batch).await.unwrap().into_iter().map(position);
        expected.extend(written.enumerate().filter(|(n, _)| n % 2 == 0).map(|(_, p)| p));
    }
    let aggregate = format!("task:{task}");
    let all: Vec<StoredEvent> = rig.log.replay(&aggregate, None).try_collect().await.unwrap();
    assert_eq!(positions(&all), expected);
    let rest: Vec<StoredEvent> = rig.log.replay(&aggregate, Some(expected[1_000])).try_collect().await.unwrap();
    assert_eq!(positions(&rest), expected[1_001..]);
    let none: Vec<StoredEvent> = rig.log.replay("task:unknown", None).try_collect().await.unwrap();
    assert!(none.is_empty());

    let mut named = event(1);
    named.aggregate_id = Some("project:p".to_owned());
    rig.log.append(vec![named]).await.unwrap();
    let named: Vec<StoredEvent> = rig.log.replay("project:p", None).try_collect().await.unwrap();
    assert_eq!(named.len(), 1);
}

#[tokio::test]
async fn e_9_replay_of_a_task_is_in_order_and_folds_to_its_end() {
    let rig = Rig::new().await;
    let request = request();
    let (task, trace) = (request.id, request.trace_id);
    let cx = CallContext { trace_id: trace, agent_id: AGENT.to_owned(), task_id: Some(task) };
    let result = TaskResult::new(&request, AGENT, Ok(json!({ "response": "so" })), 12, Usage::default());
    let end = TaskEnd {
        attempts: 1,
        agent_id: Some(AGENT.to_owned()),
        duration_ms: 20,
        error_type: None,
        result_hash: Some(result.result_hash.clone()),
    };
    let story = [
        catalogue::task_submitted(&request),
        catalogue::task_dispatched(&request, AGENT, &[], time::now()),
        catalogue::llm_call(&cx, &LlmCall::default()),
        catalogue::llm_response(&cx, &LlmResponse::default()),
        catalogue::tool_invocation(&cx, "call-1", "clock", ""),
        catalogue::task_result(&result, true),
        catalogue::task_ended(task, trace, TaskStatus::Completed, &end),
    ];
    // The ways in do not matter, nor what others write meanwhile.
    for (n, fact) in story.iter().enumerate() {
        rig.log.append(events(2)).await.unwrap();
        if n % 2 == 0 {
            append_in(&mut rig.db.conn().await.unwrap(), std::slice::from_ref(fact)).await.unwrap();
        } else {
            rig.log.append(vec![fact.clone()]).await.unwrap();
        }
        // The second path comes later and adds nothing.
        if fact.idempotency_key.is_some() {
            assert_eq!(rig.log.append(vec![fact.clone()]).await.unwrap(), [Appended::Duplicate]);
        }
    }
    let replayed: Vec<StoredEvent> = rig.log.replay(&format!("task:{task}"), None).try_collect().await.unwrap();
    let types: Vec<&str> = replayed.iter().map(|e| e.event.event_type.as_str()).collect();
    let expected = [
        "task.submitted",
        "task.dispatched",
        "llm.call",
        "llm.response",
        "tool.invocation",
        "task.result",
        "task.completed",
    ];
    assert_eq!(types, expected);
    assert_eq!(TaskState::fold(&replayed).status, Some(TaskStatus::Completed));
}

fn request() -> TaskRequest {
    TaskRequest {
        id: new_id(),
        capability: "general-query".to_owned(),
        payload: serde_json::Map::new(),
        priority: 5,
        timeout: 60,
        requested_by: "test".to_owned(),
        created_at: time::now(),
        trace_id: TraceId::new(),
        attempt: 1,
        user_id: None,
    }
}

fn positions(events: &[StoredEvent]) -> Vec<Position> {
    events.iter().map(|e| e.position).collect()
}
