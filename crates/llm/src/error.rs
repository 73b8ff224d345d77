//! What can go wrong between a prompt and an answer.

use std::time::Duration;

use mesh_six_core::{ApiError, ErrorType, task::TaskError};

/// Why there is no answer. No variant holds a prompt, an answer or an upstream body.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LlmError {
    /// The endpoint has had enough for now (429).
    #[error("the model endpoint limits the rate of requests (status 429)")]
    RateLimited {
        /// How long it asks us to wait.
        retry_after: Option<Duration>,
    },
    /// The endpoint failed (5xx, and 408).
    #[error("the model endpoint failed with status {status}")]
    Server {
        /// HTTP status.
        status: u16,
        /// How long it asks us to wait.
        retry_after: Option<Duration>,
    },
    /// The endpoint refused the request (other 4xx, and redirects, which are not followed).
    #[error("the model endpoint refused the request with status {status}{}", hint(*.status))]
    Client {
        /// HTTP status.
        status: u16,
    },
    /// No answer in time.
    #[error("{}", waited(.after))]
    Timeout {
        /// How long we waited for this request; zero where no time was left to make it.
        after: Duration,
    },
    /// No connection, or it broke before the answer began.
    #[error("the model endpoint cannot be reached; check LITELLM_BASE_URL (--llm-url)")]
    Unreachable {
        /// What the connection said, without the URL.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// An answer that cannot be used: not JSON, too large, broken off, empty.
    #[error("the model endpoint's answer is not usable: {reason}")]
    Unusable {
        /// One sentence.
        reason: String,
    },
    /// A structured answer that does not fit its schema, even after the model was told so.
    #[error("the model's answer does not fit the schema: {violation}")]
    SchemaViolation {
        /// Where and how, with values left out.
        violation: String,
    },
    /// The model still asked for tools in its last step.
    #[error("the model came to no answer within {steps} steps")]
    StepLimit {
        /// Steps made.
        steps: u32,
    },
    /// A tool or an answer type has a schema that is no JSON schema: a fault of the agent's author.
    #[error("the schema of {what} is not a valid JSON schema")]
    InvalidSchema {
        /// The tool's or type's name.
        what: String,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

fn waited(after: &Duration) -> String {
    if after.is_zero() {
        return "no time was left to ask the model".to_owned();
    }
    format!("the model did not answer within {} ms", after.as_millis())
}

fn hint(status: u16) -> &'static str {
    match status {
        401 | 403 => "; check LITELLM_API_KEY",
        404 => "; check the URL (many endpoints want it to end in /v1) and the model's name",
        300..=399 => " (redirects are not followed; give the final URL)",
        _ => "",
    }
}

impl LlmError {
    /// The kind, as it stands in events, spans and metrics.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::RateLimited { .. } => "rate_limited",
            Self::Server { .. } => "server_error",
            Self::Client { .. } => "client_error",
            Self::Timeout { .. } => "timeout",
            Self::Unreachable { .. } => "unreachable",
            Self::Unusable { .. } => "unusable_answer",
            Self::SchemaViolation { .. } => "schema_violation",
            Self::StepLimit { .. } => "step_limit",
            Self::InvalidSchema { .. } => "invalid_schema",
        }
    }

    /// The type in a failed task's result.
    pub const fn error_type(&self) -> ErrorType {
        match self {
            Self::Timeout { .. } => ErrorType::Timeout,
            Self::InvalidSchema { .. } => ErrorType::Unhandled,
            _ => ErrorType::LlmError,
        }
    }

    /// Whether the same request may succeed a moment later.
    pub const fn retryable(&self) -> bool {
        matches!(
            self,
            Self::RateLimited { .. }
                | Self::Server { .. }
                | Self::Timeout { .. }
                | Self::Unreachable { .. }
                | Self::Unusable { .. }
        )
    }

    /// The HTTP status that the endpoint answered with, if it was an error.
    pub const fn status(&self) -> Option<u16> {
        match self {
            Self::RateLimited { .. } => Some(429),
            Self::Server { status, .. } | Self::Client { status } => Some(*status),
            _ => None,
        }
    }

    /// How long the endpoint asked us to wait.
    pub const fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::RateLimited { retry_after } | Self::Server { retry_after, .. } => *retry_after,
            _ => None,
        }
    }
}

impl From<LlmError> for ApiError {
    fn from(error: LlmError) -> Self {
        Self::new(error.error_type(), error.to_string())
    }
}

impl From<LlmError> for TaskError {
    fn from(error: LlmError) -> Self {
        Self { error_type: error.error_type(), message: error.to_string() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timeout_is_a_timeout_and_the_rest_are_errors_of_the_model() {
        let timeout = LlmError::Timeout { after: Duration::from_millis(110) };
        assert_eq!((timeout.error_type(), timeout.retryable()), (ErrorType::Timeout, true));
        assert_eq!(timeout.to_string(), "the model did not answer within 110 ms");
        let refused = LlmError::Client { status: 404 };
        assert_eq!((refused.error_type(), refused.retryable()), (ErrorType::LlmError, false));
        assert!(refused.to_string().contains("/v1"), "{refused}");
        assert_eq!(TaskError::from(LlmError::StepLimit { steps: 3 }).error_type, ErrorType::LlmError);
    }
}
