//! The known events: one pure function builds each, so that both paths give equal rows (events.md §6).

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::json;
use uuid::Uuid;

pub use super::payload::{LlmCall, LlmResponse, RejectReason, TaskEnd};
use super::{
    Event,
    key::cloud_event_key,
    payload::{
        Answered, Deregistered, Dispatched, Progress, Registered, Rejected, Retried, Submitted, TimedOut,
        ToolInvocation, ToolResult,
    },
};
use crate::{
    ErrorType, TraceId,
    agent::AgentCapability,
    names::ORCHESTRATOR,
    scoring::AgentScoreCard,
    task::{TaskProgress, TaskRequest, TaskResult, TaskStatus},
};

/// A task was accepted.
pub const TASK_SUBMITTED: &str = "task.submitted";
/// An attempt began.
pub const TASK_DISPATCHED: &str = "task.dispatched";
/// A step of an agent at work.
pub const TASK_PROGRESS: &str = "task.progress";
/// An agent's answer.
pub const TASK_RESULT: &str = "task.result";
/// An answer that was not accepted.
pub const TASK_RESULT_REJECTED: &str = "task.result.rejected";
/// An attempt ended without an answer.
pub const TASK_TIMEOUT: &str = "task.timeout";
/// The next attempt and why.
pub const TASK_RETRY: &str = "task.retry";
/// A task ended with an answer.
pub const TASK_COMPLETED: &str = "task.completed";
/// A task ended without one.
pub const TASK_FAILED: &str = "task.failed";
/// A task was ended by its owner.
pub const TASK_CANCELLED: &str = "task.cancelled";
/// A model request is about to be made.
pub const LLM_CALL: &str = "llm.call";
/// Its answer or error.
pub const LLM_RESPONSE: &str = "llm.response";
/// A tool is about to run.
pub const TOOL_INVOCATION: &str = "tool.invocation";
/// What it gave.
pub const TOOL_RESULT: &str = "tool.result";
/// An agent joined.
pub const AGENT_REGISTERED: &str = "agent.registered";
/// An agent left.
pub const AGENT_DEREGISTERED: &str = "agent.deregistered";

/// Every known type. All are at version 1.
pub const KNOWN: [&str; 22] = [
    TASK_SUBMITTED,
    TASK_DISPATCHED,
    TASK_PROGRESS,
    TASK_RESULT,
    TASK_RESULT_REJECTED,
    TASK_TIMEOUT,
    TASK_RETRY,
    TASK_COMPLETED,
    TASK_FAILED,
    TASK_CANCELLED,
    LLM_CALL,
    LLM_RESPONSE,
    TOOL_INVOCATION,
    TOOL_RESULT,
    AGENT_REGISTERED,
    AGENT_DEREGISTERED,
    "reflection.stored",
    "state.transition",
    "state.write",
    "approval.requested",
    "approval.granted",
    "approval.denied",
];

/// The newest version of a known type; `None` for an unknown one, which is accepted as it is.
pub fn known_version(event_type: &str) -> Option<i32> {
    KNOWN.contains(&event_type).then_some(1)
}

fn task_event(event_type: &str, task: Uuid, trace: TraceId, payload: &impl Serialize, key: String) -> Event {
    Event::new(event_type, ORCHESTRATOR, trace, json!(payload)).of_task(task).keyed(key)
}

/// `task.submitted`: the task as it was accepted, without its payload, whose length is told.
pub fn task_submitted(request: &TaskRequest) -> Event {
    let payload = Submitted {
        capability: request.capability.clone(),
        priority: request.priority,
        timeout: request.timeout,
        requested_by: request.requested_by.clone(),
        payload_length: serde_json::to_string(&request.payload).map_or(0, |s| s.len()),
    };
    task_event(TASK_SUBMITTED, request.id, request.trace_id, &payload, format!("submit:{}", request.id))
        .at(request.created_at)
}

/// `task.dispatched`: an attempt began, and how the agents scored.
pub fn task_dispatched(
    request: &TaskRequest,
    target_agent: &str,
    scores: &[AgentScoreCard],
    at: DateTime<Utc>,
) -> Event {
    let payload = Dispatched {
        capability: request.capability.clone(),
        target_agent: target_agent.to_owned(),
        attempt: request.attempt,
        priority: request.priority,
        scores: scores.to_vec(),
    };
    let key = format!("dispatch:{}:{}", request.id, request.attempt);
    task_event(TASK_DISPATCHED, request.id, request.trace_id, &payload, key).at(at)
}

/// `task.progress`, from a message on `task-progress`; the key is the CloudEvent's.
pub fn task_progress(progress: &TaskProgress, source: &str, id: &str, time: DateTime<Utc>) -> Event {
    let payload =
        Progress { status: progress.status.clone(), details: progress.details.clone(), foreign_trace_id: None };
    Event::new(TASK_PROGRESS, &progress.agent_id, progress.trace_id, json!(payload))
        .of_task(progress.task_id)
        .keyed(cloud_event_key(source, id, time))
        .at(time)
}

/// `task.result`: the facts of an answer; the answer itself stays in the inbox.
/// `confirmed` is false where only the message vouches for it (an agent without a database).
pub fn task_result(result: &TaskResult, confirmed: bool) -> Event {
    let payload = Answered {
        success: result.success,
        capability: result.capability.clone(),
        attempt: result.attempt,
        duration_ms: result.duration_ms,
        error_type: result.error.as_ref().map(|e| e.error_type),
        result_hash: result.result_hash.clone(),
        usage: result.usage,
        source: (!confirmed).then(|| "message".to_owned()),
        foreign_trace_id: None,
    };
    Event::new(TASK_RESULT, &result.agent_id, result.trace_id, json!(payload))
        .of_task(result.task_id)
        .keyed(format!("result:{}:{}:{}", result.task_id, result.attempt, result.agent_id))
        .at(result.completed_at)
}

/// `task.result.rejected`.
pub fn task_result_rejected(result: &TaskResult, trace: TraceId, reason: RejectReason) -> Event {
    let payload = Rejected {
        agent_id: result.agent_id.clone(),
        attempt: result.attempt,
        success: result.success,
        result_hash: result.result_hash.clone(),
        reason,
    };
    let key = format!("reject:{}:{}:{}:{}", result.task_id, result.attempt, result.agent_id, reason.as_str());
    task_event(TASK_RESULT_REJECTED, result.task_id, trace, &payload, key)
}

/// `task.timeout`: attempt `attempt` by `agent` ended without an answer, after its time or with its process.
pub fn task_timeout(request: &TaskRequest, attempt: i32, agent: &str, reason: ErrorType) -> Event {
    let payload =
        TimedOut { agent_id: agent.to_owned(), attempt, timeout_ms: i64::from(request.timeout) * 1000, reason };
    let key = format!("timeout:{}:{attempt}", request.id);
    task_event(TASK_TIMEOUT, request.id, request.trace_id, &payload, key)
}

/// `task.retry`: `request.attempt` is the attempt that comes.
pub fn task_retry(request: &TaskRequest, previous_agent: &str, next_agent: &str, reason: ErrorType) -> Event {
    let payload = Retried {
        previous_agent: previous_agent.to_owned(),
        next_agent: next_agent.to_owned(),
        attempt: request.attempt,
        reason,
    };
    let key = format!("retry:{}:{}", request.id, request.attempt);
    task_event(TASK_RETRY, request.id, request.trace_id, &payload, key)
}

/// `task.completed`, `task.failed` or `task.cancelled`, by `status`; one key for all, so a task ends once.
pub fn task_ended(task: Uuid, trace: TraceId, status: TaskStatus, end: &TaskEnd) -> Event {
    let event_type = match status {
        TaskStatus::Completed => TASK_COMPLETED,
        TaskStatus::Cancelled => TASK_CANCELLED,
        _ => TASK_FAILED,
    };
    task_event(event_type, task, trace, end, format!("end:{task}"))
}

/// Of which task and agent a model or tool call is.
#[derive(Clone, Debug)]
pub struct CallContext {
    /// The W3C trace id.
    pub trace_id: TraceId,
    /// The agent that calls.
    pub agent_id: String,
    /// The task it works on, if any.
    pub task_id: Option<Uuid>,
}

impl CallContext {
    fn event(&self, event_type: &str, payload: &impl Serialize) -> Event {
        let event = Event::new(event_type, &self.agent_id, self.trace_id, json!(payload));
        match self.task_id {
            Some(task) => event.of_task(task),
            None => event,
        }
    }
}

/// `llm.call`, before a real model request.
pub fn llm_call(cx: &CallContext, call: &LlmCall) -> Event {
    cx.event(LLM_CALL, call)
}

/// `llm.response`, after it, errors included.
pub fn llm_response(cx: &CallContext, response: &LlmResponse) -> Event {
    cx.event(LLM_RESPONSE, response)
}

/// `tool.invocation`. `input_summary` is short and holds no secret.
pub fn tool_invocation(cx: &CallContext, call_id: &str, tool: &str, input_summary: &str) -> Event {
    let payload = ToolInvocation {
        call_id: call_id.to_owned(),
        tool_name: tool.to_owned(),
        input_summary: input_summary.to_owned(),
    };
    cx.event(TOOL_INVOCATION, &payload)
}

/// `tool.result`.
pub fn tool_result(cx: &CallContext, call_id: &str, tool: &str, error: Option<&str>, duration_ms: i64) -> Event {
    let payload = ToolResult {
        call_id: call_id.to_owned(),
        tool_name: tool.to_owned(),
        success: error.is_none(),
        duration_ms,
        error: error.map(str::to_owned),
    };
    cx.event(TOOL_RESULT, &payload)
}

/// `agent.registered`.
pub fn agent_registered(agent: &str, capabilities: &[AgentCapability], health_checks: &[String]) -> Event {
    let payload = Registered { capabilities: capabilities.to_vec(), health_checks: health_checks.to_vec() };
    of_agent(AGENT_REGISTERED, agent, &payload)
}

/// `agent.deregistered`.
pub fn agent_deregistered(agent: &str, reason: &str) -> Event {
    of_agent(AGENT_DEREGISTERED, agent, &Deregistered { reason: reason.to_owned() })
}

fn of_agent(event_type: &str, agent: &str, payload: &impl Serialize) -> Event {
    let mut event = Event::new(event_type, agent, TraceId::new(), json!(payload));
    event.aggregate_id = Some(format!("agent:{agent}"));
    event
}
