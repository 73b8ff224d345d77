//! The payloads of the known events at version 1 (events.md §6); [`super::schema()`] describes them to others.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use crate::{ErrorType, Usage, agent::AgentCapability, scoring::AgentScoreCard};

/// Of `task.submitted`: the task without its input, whose length is told.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Submitted {
    /// What is asked for.
    pub capability: String,
    /// 0 to 10.
    pub priority: i32,
    /// Seconds that one attempt may take.
    pub timeout: i32,
    /// Who asked.
    pub requested_by: String,
    /// Length of the input's JSON text, in bytes.
    pub payload_length: usize,
}

/// Of `task.dispatched`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Dispatched {
    /// What is asked for.
    pub capability: String,
    /// Who is asked.
    pub target_agent: String,
    /// Which attempt begins.
    pub attempt: i32,
    /// 0 to 10.
    pub priority: i32,
    /// How the agents scored, best first.
    pub scores: Vec<AgentScoreCard>,
}

/// Of `task.progress`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Progress {
    /// One word.
    pub status: String,
    /// More, if there is more.
    pub details: Option<Value>,
    /// The beginning of what the message gave as its trace id, where that was invalid and has been replaced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub foreign_trace_id: Option<String>,
}

/// Of `task.result`: the facts of an answer; the answer itself stays in the inbox.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Answered {
    /// Whether the work was done.
    pub success: bool,
    /// What was asked for.
    pub capability: String,
    /// Which attempt this answers.
    pub attempt: i32,
    /// How long the agent worked, in milliseconds.
    pub duration_ms: i64,
    /// Why it failed, if it did.
    pub error_type: Option<ErrorType>,
    /// Hash of the answer.
    pub result_hash: String,
    /// What the attempt's model requests used.
    pub usage: Usage,
    /// `message` where only the message vouches for the answer (an agent without a database).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// The beginning of what the message gave as its trace id, where that was invalid and has been replaced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub foreign_trace_id: Option<String>,
}

/// Why an answer was not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
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

/// Of `task.result.rejected`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Rejected {
    /// Who answered.
    pub agent_id: String,
    /// Which attempt the answer names.
    pub attempt: i32,
    /// Whether it says that the work was done.
    pub success: bool,
    /// Hash of the answer.
    pub result_hash: String,
    /// Why it was not accepted.
    pub reason: RejectReason,
}

/// Of `task.timeout`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TimedOut {
    /// Who did not answer.
    pub agent_id: String,
    /// Which attempt ended.
    pub attempt: i32,
    /// How long it might have taken, in milliseconds.
    pub timeout_ms: i64,
    /// `timeout`, or `unavailable` where the agent's process was lost.
    pub reason: ErrorType,
}

/// Of `task.retry`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Retried {
    /// Who had the attempt before.
    pub previous_agent: String,
    /// Who gets the next one.
    pub next_agent: String,
    /// The attempt that comes.
    pub attempt: i32,
    /// Why the one before ended.
    pub reason: ErrorType,
}

/// Of `task.completed`, `task.failed` and `task.cancelled`: how a task ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
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

/// Of `llm.call`. Lengths are in characters. Content stays beside the log ([`super::Content`]).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
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

/// Of `llm.response`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
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
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub response_id: Option<String>,
    /// Why it failed: type, message, HTTP status.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<Value>,
}

/// Of `tool.invocation`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ToolInvocation {
    /// Joins invocation and result.
    pub call_id: String,
    /// The tool.
    pub tool_name: String,
    /// Short, without secrets.
    pub input_summary: String,
}

/// Of `tool.result`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ToolResult {
    /// Joins invocation and result.
    pub call_id: String,
    /// The tool.
    pub tool_name: String,
    /// Whether it gave an answer.
    pub success: bool,
    /// How long it ran, in milliseconds.
    pub duration_ms: i64,
    /// Why it failed, if it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// Of `agent.registered`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Registered {
    /// What the agent can do.
    pub capabilities: Vec<AgentCapability>,
    /// The names of its health checks.
    pub health_checks: Vec<String>,
}

/// Of `agent.deregistered`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Deregistered {
    /// Why it left.
    pub reason: String,
}

/// What is left of a payload that was too large: this marker, and the members of at most 1 KiB each.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Truncated {
    /// Always true.
    pub truncated: bool,
    /// Length of the whole payload's JSON text, in bytes.
    pub original_length: usize,
    /// How that text begins.
    pub beginning: String,
}
