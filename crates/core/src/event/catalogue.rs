//! The known events: one pure function builds each, so that both paths give equal rows (events.md §6).

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{Event, key::cloud_event_key};
use crate::{
    ErrorType, TraceId, Usage,
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

fn task_event(event_type: &str, task: Uuid, trace: TraceId, payload: Value, key: String) -> Event {
    Event::new(event_type, ORCHESTRATOR, trace, payload).of_task(task).keyed(key)
}

/// `task.submitted`: the task as it was accepted, without its payload, whose length is told.
pub fn task_submitted(request: &TaskRequest) -> Event {
    let payload = json!({
        "capability": request.capability,
        "priority": request.priority,
        "timeout": request.timeout,
        "requestedBy": request.requested_by,
        "payloadLength": serde_json::to_string(&request.payload).map_or(0, |s| s.len()),
    });
    task_event(TASK_SUBMITTED, request.id, request.trace_id, payload, format!("submit:{}", request.id))
        .at(request.created_at)
}

/// `task.dispatched`: an attempt began, and how the agents scored.
pub fn task_dispatched(
    request: &TaskRequest,
    target_agent: &str,
    scores: &[AgentScoreCard],
    at: DateTime<Utc>,
) -> Event {
    let payload = json!({
        "capability": request.capability,
        "targetAgent": target_agent,
        "attempt": request.attempt,
        "priority": request.priority,
        "scores": scores,
    });
    let key = format!("dispatch:{}:{}", request.id, request.attempt);
    task_event(TASK_DISPATCHED, request.id, request.trace_id, payload, key).at(at)
}

/// `task.progress`, from a message on `task-progress`; the key is the CloudEvent's.
pub fn task_progress(progress: &TaskProgress, source: &str, id: &str, time: DateTime<Utc>) -> Event {
    let payload = json!({"status": progress.status, "details": progress.details});
    Event::new(TASK_PROGRESS, &progress.agent_id, progress.trace_id, payload)
        .of_task(progress.task_id)
        .keyed(cloud_event_key(source, id, time))
        .at(time)
}

/// `task.result`: the facts of an answer; the answer itself stays in the inbox.
/// `confirmed` is false where only the message vouches for it (an agent without a database).
pub fn task_result(result: &TaskResult, confirmed: bool) -> Event {
    let mut payload = json!({
        "success": result.success,
        "capability": result.capability,
        "attempt": result.attempt,
        "durationMs": result.duration_ms,
        "errorType": result.error.as_ref().map(|e| e.error_type),
        "resultHash": result.result_hash,
        "usage": result.usage,
    });
    if !confirmed {
        payload["source"] = json!("message");
    }
    Event::new(TASK_RESULT, &result.agent_id, result.trace_id, payload)
        .of_task(result.task_id)
        .keyed(format!("result:{}:{}:{}", result.task_id, result.attempt, result.agent_id))
        .at(result.completed_at)
}

/// Why an answer was not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RejectReason {
    /// From an agent that was not asked.
    WrongAgent,
    /// After the task had ended, or its attempt had, without success.
    Late,
    /// The inbox does not hold it.
    Forged,
}

impl RejectReason {
    /// The name in the key.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::WrongAgent => "wrong_agent",
            Self::Late => "late",
            Self::Forged => "forged",
        }
    }
}

/// `task.result.rejected`.
pub fn task_result_rejected(result: &TaskResult, trace: TraceId, reason: RejectReason) -> Event {
    let payload = json!({
        "agentId": result.agent_id,
        "attempt": result.attempt,
        "success": result.success,
        "resultHash": result.result_hash,
        "reason": reason,
    });
    let key = format!("reject:{}:{}:{}:{}", result.task_id, result.attempt, result.agent_id, reason.as_str());
    task_event(TASK_RESULT_REJECTED, result.task_id, trace, payload, key)
}

/// `task.timeout`: attempt `attempt` by `agent` ended without an answer, after its time or with its process.
pub fn task_timeout(request: &TaskRequest, attempt: i32, agent: &str, reason: ErrorType) -> Event {
    let payload = json!({
        "agentId": agent,
        "attempt": attempt,
        "timeoutMs": i64::from(request.timeout) * 1000,
        "reason": reason,
    });
    let key = format!("timeout:{}:{attempt}", request.id);
    task_event(TASK_TIMEOUT, request.id, request.trace_id, payload, key)
}

/// `task.retry`: `request.attempt` is the attempt that comes.
pub fn task_retry(request: &TaskRequest, previous_agent: &str, next_agent: &str, reason: ErrorType) -> Event {
    let payload = json!({
        "previousAgent": previous_agent,
        "nextAgent": next_agent,
        "attempt": request.attempt,
        "reason": reason,
    });
    let key = format!("retry:{}:{}", request.id, request.attempt);
    task_event(TASK_RETRY, request.id, request.trace_id, payload, key)
}

/// How a task ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TaskEnd {
    /// Attempts made.
    pub attempts: i32,
    /// Who answered last.
    pub agent_id: Option<String>,
    /// From acceptance to the end, in milliseconds.
    pub duration_ms: i64,
    /// Why it failed, if it did.
    pub error_type: Option<ErrorType>,
    /// Hash of the accepted answer.
    pub result_hash: Option<String>,
}

/// `task.completed`, `task.failed` or `task.cancelled`, by `status`; one key for all, so a task ends once.
pub fn task_ended(task: Uuid, trace: TraceId, status: TaskStatus, end: &TaskEnd) -> Event {
    let event_type = match status {
        TaskStatus::Completed => TASK_COMPLETED,
        TaskStatus::Cancelled => TASK_CANCELLED,
        _ => TASK_FAILED,
    };
    task_event(event_type, task, trace, json!(end), format!("end:{task}"))
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
    fn event(&self, event_type: &str, payload: Value) -> Event {
        let event = Event::new(event_type, &self.agent_id, self.trace_id, payload);
        match self.task_id {
            Some(task) => event.of_task(task),
            None => event,
        }
    }
}

/// Payload of `llm.call`. Lengths are in characters. Content stays beside the log ([`super::Content`]).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LlmCall {
    /// Joins call and response.
    pub call_id: Uuid,
    /// The model asked for.
    pub model: String,
    /// Length of the system prompt.
    pub system_prompt_length: usize,
    /// Length of all other messages.
    pub prompt_length: usize,
    /// Messages in the request.
    pub message_count: usize,
    /// Tools offered.
    pub tool_count: usize,
    /// 1 for the first try of this step; retries count up.
    pub attempt: u32,
    /// The step of the tool loop, from 1.
    pub step: u32,
    /// Whether a structured answer was asked for.
    pub structured: bool,
}

/// Payload of `llm.response`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LlmResponse {
    /// Joins call and response.
    pub call_id: Uuid,
    /// The model that answered.
    pub model: String,
    /// How long the request took, in milliseconds.
    pub duration_ms: i64,
    /// Length of the answer, in characters.
    pub response_length: usize,
    /// Tool calls in the answer.
    pub tool_call_count: usize,
    /// `stop`, `length`, `tool_calls`, ..., or `error`.
    pub finish_reason: String,
    /// As in the call.
    pub attempt: u32,
    /// As in the call.
    pub step: u32,
    /// As in the call.
    pub structured: bool,
    /// Tokens and cost of this one request.
    pub usage: Usage,
    /// The provider's id of the response.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub response_id: Option<String>,
    /// Why it failed: type, message, HTTP status.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<Value>,
}

/// `llm.call`, before a real model request.
pub fn llm_call(cx: &CallContext, call: &LlmCall) -> Event {
    cx.event(LLM_CALL, json!(call))
}

/// `llm.response`, after it, errors included.
pub fn llm_response(cx: &CallContext, response: &LlmResponse) -> Event {
    cx.event(LLM_RESPONSE, json!(response))
}

/// `tool.invocation`. `input_summary` is short and holds no secret.
pub fn tool_invocation(cx: &CallContext, call_id: &str, tool: &str, input_summary: &str) -> Event {
    cx.event(TOOL_INVOCATION, json!({"callId": call_id, "toolName": tool, "inputSummary": input_summary}))
}

/// `tool.result`.
pub fn tool_result(cx: &CallContext, call_id: &str, tool: &str, error: Option<&str>, duration_ms: i64) -> Event {
    let mut payload =
        json!({"callId": call_id, "toolName": tool, "success": error.is_none(), "durationMs": duration_ms});
    if let Some(error) = error {
        payload["error"] = json!(error);
    }
    cx.event(TOOL_RESULT, payload)
}

/// `agent.registered`.
pub fn agent_registered(agent: &str, capabilities: &[AgentCapability], health_checks: &[String]) -> Event {
    let payload = json!({"capabilities": capabilities, "healthChecks": health_checks});
    of_agent(AGENT_REGISTERED, agent, payload)
}

/// `agent.deregistered`.
pub fn agent_deregistered(agent: &str, reason: &str) -> Event {
    of_agent(AGENT_DEREGISTERED, agent, json!({"reason": reason}))
}

fn of_agent(event_type: &str, agent: &str, payload: Value) -> Event {
    let mut event = Event::new(event_type, agent, TraceId::new(), payload);
    event.aggregate_id = Some(format!("agent:{agent}"));
    event
}
