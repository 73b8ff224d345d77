//! Messages as the mesh sends them, for tests that send their own.

use mesh_six_core::{
    Event, TraceId, Usage,
    event::catalogue,
    id::new_id,
    task::{TaskProgress, TaskRequest, TaskResult},
    time,
};
use mesh_six_sidecar::{CloudEvent, Message};
use serde_json::{Value, json};
use uuid::Uuid;

/// Who sends them.
pub const AGENT: &str = "simple-agent";

/// A request for a task of its own.
pub fn request() -> TaskRequest {
    TaskRequest {
        id: new_id(),
        capability: "general-query".to_owned(),
        payload: [("query".to_owned(), json!("why is the sky blue"))].into_iter().collect(),
        priority: 5,
        timeout: 60,
        requested_by: "tests".to_owned(),
        created_at: time::now(),
        trace_id: TraceId::new(),
        attempt: 1,
        user_id: None,
    }
}

/// The agent's answer.
pub fn result(request: &TaskRequest) -> TaskResult {
    let answer = json!({"response": format!("because of {}", request.id)});
    TaskResult::new(request, AGENT, Ok(answer), 12, Usage::default())
}

/// What the agent says meanwhile.
pub fn note(request: &TaskRequest, status: &str) -> TaskProgress {
    TaskProgress {
        task_id: request.id,
        agent_id: AGENT.to_owned(),
        trace_id: request.trace_id,
        status: status.to_owned(),
        details: None,
    }
}

/// A fact of the orchestrator.
pub fn dispatched(request: &TaskRequest) -> Event {
    catalogue::task_dispatched(request, AGENT, &[], time::now())
}

/// To `topic`, with an id of its own.
pub fn message(topic: &str, data: Value) -> Message {
    Message { id: Uuid::new_v4().to_string(), topic: topic.to_owned(), time: time::now(), traceparent: None, data }
}

/// The envelope in which `message` is delivered.
pub fn envelope(source: &str, message: Message) -> Value {
    json!(CloudEvent::wrap(source, message))
}

/// `value` with another member.
pub fn with(mut value: Value, name: &str, member: Value) -> Value {
    value[name] = member;
    value
}

/// `value` without a member.
pub fn without(mut value: Value, name: &str) -> Value {
    if let Some(members) = value.as_object_mut() {
        members.remove(name);
    }
    value
}
