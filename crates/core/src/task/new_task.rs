//! The body of `POST /api/v1/tasks`: here, so that callers can check it before they send it.

use serde::Deserialize;

use super::{
    MAX_TIMEOUT_SECONDS, Payload, check_payload, check_person, check_task_fields, default_priority, default_timeout,
    number,
};
use crate::{ApiError, ErrorType, TraceId, Validate, names::MAX_MESSAGE_BYTES};

/// The longest wait for the end of a task, in seconds.
pub const MAX_WAIT_SECONDS: u32 = MAX_TIMEOUT_SECONDS.cast_unsigned();
/// Who asks where the caller does not say.
pub const SOMEBODY: &str = "api";

/// A task to be done. Unknown fields are refused: a misspelt `priority` must not be lost in silence.
#[derive(Clone, Debug, PartialEq, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NewTaskBody {
    /// What is asked for, such as `general-query`.
    pub capability: String,
    /// The input, at most 256 KiB.
    #[schema(value_type = Object)]
    pub payload: Payload,
    /// 0 (can wait) to 10 (urgent).
    #[serde(default = "default_priority", deserialize_with = "number::priority")]
    #[schema(minimum = 0, maximum = 10, default = 5)]
    pub priority: i32,
    /// Seconds that one attempt may take.
    #[serde(default = "default_timeout", deserialize_with = "number::seconds")]
    #[schema(minimum = 1, maximum = 900, default = 120)]
    pub timeout: i32,
    /// Who asks.
    #[schema(default = "api")]
    pub requested_by: Option<String>,
    /// For whom, where that is somebody else.
    pub user_id: Option<String>,
    /// The W3C trace id; without it that of the header `traceparent`, else a new one.
    pub trace_id: Option<TraceId>,
    /// Seconds to wait for the end of the task.
    #[serde(default)]
    #[schema(minimum = 0, maximum = 900)]
    pub wait: u32,
}

impl Validate for NewTaskBody {
    fn validate(&self) -> Result<(), ApiError> {
        check_task_fields(&self.capability, self.priority, self.timeout)?;
        check_person("requestedBy", self.requested_by.as_deref().unwrap_or(SOMEBODY))?;
        check_person("userId", self.user_id.as_deref().unwrap_or_default())?;
        check_wait(self.wait)?;
        check_payload(&self.payload)?;
        let size = serde_json::to_vec(&self.payload).map_or(usize::MAX, |bytes| bytes.len());
        if size > MAX_MESSAGE_BYTES {
            let message =
                format!("the payload has {size} bytes, but at most {MAX_MESSAGE_BYTES} (256 KiB) fit into a message");
            let error = ApiError::new(ErrorType::PayloadTooLarge, message);
            return Err(ApiError { field: Some("payload".to_owned()), ..error });
        }
        Ok(())
    }
}

/// How long a caller wants to wait.
pub fn check_wait(wait: u32) -> Result<(), ApiError> {
    if wait > MAX_WAIT_SECONDS {
        let message = format!("wait is {wait} s, but must be from 0 to {MAX_WAIT_SECONDS} s");
        return Err(ApiError::validation("wait", message));
    }
    Ok(())
}
