//! A message with an odd trace id, or with none, is a fact all the same.

use mesh_six_core::{
    TraceId,
    names::{TASK_PROGRESS, TASK_RESULTS},
    task::TaskRequest,
};
use mesh_six_testing::samples::{AGENT, envelope, message, note, request, result, with, without};
use serde_json::{Value, json};

use crate::rig::{Rig, ask_agent, fill_inbox};

/// A trace id that is none.
const ODD: &str = "abc\u{1b}[31m";

/// The message with content that has `trace` in place of its own trace id.
fn traced(topic: &str, data: Value, trace: Option<&str>) -> Value {
    let data = match trace {
        Some(text) => with(data, "traceId", json!(text)),
        None => without(data, "traceId"),
    };
    envelope(AGENT, message(topic, data))
}

/// `request`'s id as a trace.
fn of_task(request: &TaskRequest) -> TraceId {
    TraceId::from_uuid(request.id)
}

#[tokio::test]
async fn a_note_with_a_foreign_trace_or_none_is_stored_once_under_its_envelopes_or_tasks() {
    let rig = Rig::start().await;
    let requests: [TaskRequest; 4] = std::array::from_fn(|_| request());
    let [odd, none, carried, endless] = &requests;
    let noted = |of: &TaskRequest, trace| traced(TASK_PROGRESS, json!(note(of, "tool")), trace);
    let long = "a".repeat(1 << 16);
    let parent = with(noted(carried, Some(ODD)), "traceparent", json!(carried.trace_id.to_traceparent()));
    let batch = [noted(odd, Some(ODD)), noted(none, None), parent, noted(endless, Some(&long))];
    for _ in 0..2 {
        assert_eq!(rig.deliver("/events/task-progress", &batch).await, ["SUCCESS"; 4], "{:?}", rig.letters().await);
    }
    let events = rig.events().await;
    let stored: Vec<_> = events.iter().map(|e| (e.event.task_id.unwrap(), e.event.trace_id)).collect();
    let traces = [of_task(odd), of_task(none), carried.trace_id, of_task(endless)];
    assert_eq!(stored, requests.iter().map(|r| r.id).zip(traces).collect::<Vec<_>>());
    let foreign: Vec<_> = events.iter().map(|e| e.event.payload["foreignTraceId"].as_str()).collect();
    let shown = Some("abc\u{fffd}[31m");
    assert_eq!(foreign[..3], [shown, None, shown]);
    assert_eq!(foreign[3], Some(format!("{}…", &long[..128])).as_deref());
    assert_eq!(rig.letters().await.len(), 0);
}

#[tokio::test]
async fn a_result_with_a_foreign_trace_or_none_is_stored_once() {
    let rig = Rig::start().await;
    let client = rig.database.client().await;
    let (kept, asked) = (request(), request());
    fill_inbox(&client, &[result(&kept)], true).await;
    ask_agent(&client, asked.id, AGENT).await;
    let answered = |of: &TaskRequest, trace| traced(TASK_RESULTS, json!(result(of)), trace);
    let batch = [answered(&kept, Some(ODD)), answered(&asked, None)];
    for _ in 0..2 {
        assert_eq!(rig.deliver("/events/task-results", &batch).await, ["SUCCESS"; 2], "{:?}", rig.letters().await);
    }
    let events = rig.events().await;
    let stored: Vec<_> = events.iter().map(|e| (e.event.trace_id, e.event.payload.get("foreignTraceId"))).collect();
    assert_eq!(stored, [(of_task(&kept), Some(&json!("abc\u{fffd}[31m"))), (of_task(&asked), None)]);
    assert_eq!(rig.letters().await.len(), 0);
}
