//! What an agent answers.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use super::{TaskRequest, check_attempt, check_name, default_attempt};
use crate::{
    ApiError, ErrorType, TraceId, Usage, Validate,
    hash::result_hash,
    names,
    text::{has_nul, shortened, without_nul},
    time,
};

/// The longest message of a failure, in bytes; a longer one is cut.
const MAX_ERROR_BYTES: usize = 2_000;

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
    /// The answer of `agent` to `request`, hashed, in a form that messages and database can carry: null
    /// becomes an empty object (null means absent on the wire), U+0000 is replaced, a long failure is cut.
    pub fn new(
        request: &TaskRequest,
        agent: &str,
        outcome: Result<Value, TaskError>,
        duration_ms: i64,
        usage: Usage,
    ) -> Self {
        let (result, error) = match outcome {
            Ok(Value::Null) => (Some(Value::Object(super::Payload::new())), None),
            Ok(value) => (Some(without_nul(value)), None),
            Err(mut error) => {
                error.message = shortened(&error.message.replace('\0', "\u{fffd}"), MAX_ERROR_BYTES);
                (None, Some(error))
            }
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

impl Validate for TaskResult {
    fn validate(&self) -> Result<(), ApiError> {
        if self.duration_ms < 0 {
            return Err(ApiError::validation("durationMs", "a duration is not negative"));
        }
        check_attempt(self.attempt)?;
        check_name("agentId", &self.agent_id)?;
        check_name("capability", &self.capability)?;
        let answers = usize::from(self.result.is_some()) + usize::from(self.result_ref.is_some());
        match (self.success, answers, &self.error) {
            (true, 1, None) | (false, 0, Some(_)) => {}
            _ => {
                return Err(ApiError::validation("result", "exactly one of result and error, as success says"));
            }
        }
        if self.result.as_ref().is_some_and(has_nul) {
            return Err(ApiError::validation("result", "PostgreSQL cannot keep the character U+0000"));
        }
        if self.error.as_ref().is_some_and(|e| e.message.contains('\0')) {
            return Err(ApiError::validation("error.message", "PostgreSQL cannot keep the character U+0000"));
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
