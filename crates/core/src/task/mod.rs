//! Tasks: what is asked, what is answered, and in which state it is (core.md §1).

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use uuid::Uuid;

mod new_task;
mod number;
mod result;
mod status;

pub use self::{
    new_task::{MAX_WAIT_SECONDS, NewTaskBody, SOMEBODY, check_wait},
    result::{TaskError, TaskResult},
    status::{AttemptOutcome, TaskStatus},
};
pub use crate::hash::{hex, result_hash};
use crate::{ApiError, TraceId, Validate, text::has_nul, time};

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
    #[serde(default = "default_priority", deserialize_with = "number::priority")]
    pub priority: i32,
    /// Seconds that one attempt may take, 1 to 900.
    #[serde(default = "default_timeout", deserialize_with = "number::seconds")]
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
    check_name("capability", capability)?;
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

/// A payload without U+0000, which PostgreSQL cannot keep.
pub fn check_payload(payload: &Payload) -> Result<(), ApiError> {
    if payload.iter().any(|(name, value)| name.contains('\0') || has_nul(value)) {
        return Err(ApiError::validation("payload", "PostgreSQL cannot keep the character U+0000"));
    }
    Ok(())
}

/// Who asks, or for whom: at most 256 bytes.
pub fn check_person(field: &str, who: &str) -> Result<(), ApiError> {
    if who.len() > 256 || who.contains('\0') {
        return Err(ApiError::validation(field, "at most 256 bytes without U+0000"));
    }
    Ok(())
}

fn check_name(field: &str, name: &str) -> Result<(), ApiError> {
    if name.is_empty() || name.len() > 128 || name.contains('\0') {
        return Err(ApiError::validation(field, "1 to 128 bytes without U+0000"));
    }
    Ok(())
}

fn check_attempt(attempt: i32) -> Result<(), ApiError> {
    if attempt < 1 {
        return Err(ApiError::validation("attempt", "attempts count from 1"));
    }
    Ok(())
}

impl Validate for TaskRequest {
    fn validate(&self) -> Result<(), ApiError> {
        check_task_fields(&self.capability, self.priority, self.timeout)?;
        check_attempt(self.attempt)?;
        check_person("requestedBy", &self.requested_by)?;
        if let Some(user) = &self.user_id {
            check_person("userId", user)?;
        }
        check_payload(&self.payload)
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
        check_name("status", &self.status)?;
        check_name("agentId", &self.agent_id)
    }
}
