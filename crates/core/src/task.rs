//! Tasks: what is asked, what is answered, and in which state it is (core.md §1).

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::{ApiError, ErrorType, TraceId, Usage, Validate, names, time};

/// A payload is a JSON object.
pub type Payload = Map<String, Value>;

/// What an agent is sent: one attempt of a task.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TaskRequest {
    /// The task, a `UUIDv7`.
    pub id: Uuid,
    /// What is asked for.
    pub capability: String,
    /// The input.
    #[schema(value_type = Object)]
    pub payload: Payload,
    /// 0 (can wait) to 10 (urgent).
    #[serde(default = "default_priority")]
    pub priority: i32,
    /// Seconds that one attempt may take, 1 to 900.
    #[serde(default = "default_timeout")]
    pub timeout: i32,
    /// Who asked.
    pub requested_by: String,
    /// When the task was accepted.
    #[serde(with = "time::micros")]
    pub created_at: DateTime<Utc>,
    /// The W3C trace id of the task.
    pub trace_id: TraceId,
    /// 1 for the first attempt.
    #[serde(default = "default_attempt")]
    pub attempt: i32,
    /// For whom, where it is not `requestedBy`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_id: Option<String>,
}

/// Priority where none is given.
pub const fn default_priority() -> i32 {
    5
}
/// Timeout in seconds where none is given.
pub const fn default_timeout() -> i32 {
    120
}
const fn default_attempt() -> i32 {
    1
}
/// The longest timeout of one attempt, in seconds (messaging.md §1).
pub const MAX_TIMEOUT_SECONDS: i32 = 900;

/// Checks that every task's description must pass, wherever it comes from.
pub fn check_task_fields(capability: &str, priority: i32, timeout: i32) -> Result<(), ApiError> {
    if capability.is_empty() || capability.len() > 128 {
        return Err(ApiError::validation("capability", "a capability has 1 to 128 characters"));
    }
    if !(0..=10).contains(&priority) {
        return Err(ApiError::validation("priority", format!("priority is {priority}, but must be from 0 to 10")));
    }
    if !(1..=MAX_TIMEOUT_SECONDS).contains(&timeout) {
        return Err(ApiError::validation(
            "timeout",
            format!("timeout is {timeout} s, but must be from 1 to {MAX_TIMEOUT_SECONDS} s"),
        ));
    }
    Ok(())
}

impl Validate for TaskRequest {
    fn validate(&self) -> Result<(), ApiError> {
        check_task_fields(&self.capability, self.priority, self.timeout)?;
        if self.attempt < 1 {
            return Err(ApiError::validation("attempt", "attempts count from 1"));
        }
        if self.requested_by.len() > 256 {
            return Err(ApiError::validation("requestedBy", "at most 256 characters"));
        }
        Ok(())
    }
}

/// Why an attempt failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct TaskError {
    /// The kind of failure.
    #[serde(rename = "type")]
    pub error_type: ErrorType,
    /// One sentence, without upstream bodies or secrets.
    pub message: String,
}

impl From<ApiError> for TaskError {
    fn from(error: ApiError) -> Self {
        Self { error_type: error.error_type, message: error.message }
    }
}

/// What an agent answers to one attempt.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TaskResult {
    /// The task.
    pub task_id: Uuid,
    /// Who answers.
    pub agent_id: String,
    /// What was asked for.
    pub capability: String,
    /// Which attempt this answers.
    #[serde(default = "default_attempt")]
    pub attempt: i32,
    /// The W3C trace id of the task.
    pub trace_id: TraceId,
    /// Whether the work was done.
    pub success: bool,
    /// The answer, on success. Absent also where `resultRef` says that it stays in the inbox.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub result: Option<Value>,
    /// `inbox` where the answer is too large for a message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result_ref: Option<String>,
    /// SHA-256 of the answer ([`result_hash`]), so that message and inbox can be compared.
    pub result_hash: String,
    /// The failure, if not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<TaskError>,
    /// How long the agent worked, in milliseconds.
    pub duration_ms: i64,
    /// When it was done.
    #[serde(with = "time::micros")]
    pub completed_at: DateTime<Utc>,
    /// What the model requests used.
    #[serde(default)]
    pub usage: Usage,
}

impl TaskResult {
    /// The answer of `agent` to `request`, hashed.
    pub fn new(
        request: &TaskRequest,
        agent: &str,
        outcome: Result<Value, TaskError>,
        duration_ms: i64,
        usage: Usage,
    ) -> Self {
        let (result, error) = match outcome {
            Ok(value) => (Some(value), None),
            Err(error) => (None, Some(error)),
        };
        Self {
            task_id: request.id,
            agent_id: agent.to_owned(),
            capability: request.capability.clone(),
            attempt: request.attempt,
            trace_id: request.trace_id,
            success: error.is_none(),
            result_hash: result_hash(result.as_ref(), error.as_ref()),
            result,
            result_ref: None,
            error,
            duration_ms,
            completed_at: time::now(),
            usage,
        }
    }

    /// The form that fits into a message: a large answer stays in the inbox and is named by its hash.
    #[must_use]
    pub fn for_message(&self) -> Self {
        let mut message = self.clone();
        let size = message.result.as_ref().map_or(0, |r| r.to_string().len());
        if size > names::MAX_MESSAGE_BYTES / 2 {
            message.result = None;
            message.result_ref = Some("inbox".to_owned());
        }
        message
    }
}

/// SHA-256 over the JSON text of the answer or the error, in hex. `serde_json` keeps object keys sorted,
/// so equal values have equal text.
pub fn result_hash(result: Option<&Value>, error: Option<&TaskError>) -> String {
    let text = match (result, error) {
        (Some(value), _) => value.to_string(),
        (None, Some(e)) => format!("{}: {}", e.error_type, e.message),
        (None, None) => String::new(),
    };
    hex(&Sha256::digest(text.as_bytes()))
}

/// Lower-case hex of `bytes`.
pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut out, b| {
        let _ = write!(out, "{b:02x}");
        out
    })
}

impl Validate for TaskResult {
    fn validate(&self) -> Result<(), ApiError> {
        if self.duration_ms < 0 {
            return Err(ApiError::validation("durationMs", "a duration is not negative"));
        }
        if self.attempt < 1 {
            return Err(ApiError::validation("attempt", "attempts count from 1"));
        }
        if self.agent_id.is_empty() || self.agent_id.len() > 128 {
            return Err(ApiError::validation("agentId", "an agent id has 1 to 128 characters"));
        }
        let answers = usize::from(self.result.is_some()) + usize::from(self.result_ref.is_some());
        match (self.success, answers, &self.error) {
            (true, 1, None) | (false, 0, Some(_)) => {}
            _ => {
                return Err(ApiError::validation("result", "exactly one of result and error, as success says"));
            }
        }
        if self.result_ref.as_deref().is_some_and(|r| r != "inbox") {
            return Err(ApiError::validation("resultRef", "the only reference known is \"inbox\""));
        }
        let whole =
            self.result_ref.is_some() || self.result_hash == result_hash(self.result.as_ref(), self.error.as_ref());
        if !whole {
            return Err(ApiError::validation("resultHash", "the hash does not fit the answer"));
        }
        Ok(())
    }
}

/// A note from an agent at work, on topic `task-progress`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TaskProgress {
    /// The task.
    pub task_id: Uuid,
    /// Who works.
    pub agent_id: String,
    /// The W3C trace id of the task.
    pub trace_id: TraceId,
    /// One word: started, tool, finished, ...
    pub status: String,
    /// A sentence, or more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub details: Option<Value>,
}

impl Validate for TaskProgress {
    fn validate(&self) -> Result<(), ApiError> {
        if self.status.is_empty() || self.status.len() > 128 {
            return Err(ApiError::validation("status", "a status has 1 to 128 characters"));
        }
        if self.agent_id.is_empty() || self.agent_id.len() > 128 {
            return Err(ApiError::validation("agentId", "an agent id has 1 to 128 characters"));
        }
        Ok(())
    }
}

/// Where a task stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum TaskStatus {
    /// Accepted, between two attempts.
    Pending,
    /// An attempt is under way.
    Dispatched,
    /// Ended with an answer.
    Completed,
    /// Ended without one.
    Failed,
    /// Ended by its owner.
    Cancelled,
}

impl TaskStatus {
    /// All states.
    pub const ALL: [Self; 5] = [Self::Pending, Self::Dispatched, Self::Completed, Self::Failed, Self::Cancelled];

    /// The name in the database and on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Dispatched => "dispatched",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    /// From the name; `None` if there is no such state.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|s| s.as_str() == name)
    }

    /// Whether the task has ended.
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Cancelled)
    }
}

/// How an attempt ended (messaging.md §2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum AttemptOutcome {
    /// With an answer.
    Success,
    /// With an error.
    Failed,
    /// Without an answer in time.
    Timeout,
    /// The agent's process died, gave up, or could not be reached.
    Unavailable,
    /// With its task.
    Cancelled,
}

impl AttemptOutcome {
    /// The name in the database and on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Failed => "failed",
            Self::Timeout => "timeout",
            Self::Unavailable => "unavailable",
            Self::Cancelled => "cancelled",
        }
    }
}
