//! One table of errors: type, HTTP status, whether trying again helps, exit code (events.md §7).

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What went wrong, in the words of the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ErrorType {
    /// The caller's input is wrong; `field` names where.
    Validation,
    /// No token, or a wrong one.
    Unauthorized,
    /// The caller may not do this.
    Permission,
    /// There is no such thing.
    NotFound,
    /// The thing is in a state that does not allow this.
    Conflict,
    /// It was there once and has been dropped.
    Gone,
    /// The body or message is too large.
    PayloadTooLarge,
    /// No agent can take the task now; `details` has the score table.
    NoAgent,
    /// Part of the infrastructure is away; nothing was accepted.
    Unavailable,
    /// It took too long.
    Timeout,
    /// A system behind an agent answered with an error.
    ApiError,
    /// The model answered with an error, or not usably.
    LlmError,
    /// Somebody cancelled it.
    Cancelled,
    /// A fault of ours.
    Unhandled,
    /// A type this version does not know.
    #[serde(other)]
    Unknown,
}

impl ErrorType {
    /// All types that this version writes.
    pub const ALL: [Self; 14] = [
        Self::Validation,
        Self::Unauthorized,
        Self::Permission,
        Self::NotFound,
        Self::Conflict,
        Self::Gone,
        Self::PayloadTooLarge,
        Self::NoAgent,
        Self::Unavailable,
        Self::Timeout,
        Self::ApiError,
        Self::LlmError,
        Self::Cancelled,
        Self::Unhandled,
    ];

    /// The table's row: name, HTTP status, retryable, exit code of the command line.
    const fn row(self) -> (&'static str, u16, bool, u8) {
        match self {
            Self::Validation => ("validation", 400, false, 2),
            Self::Unauthorized => ("unauthorized", 401, false, 2),
            Self::Permission => ("permission", 403, false, 1),
            Self::NotFound => ("not_found", 404, false, 1),
            Self::Conflict => ("conflict", 409, false, 1),
            Self::Gone => ("gone", 410, false, 1),
            Self::PayloadTooLarge => ("payload_too_large", 413, false, 2),
            Self::NoAgent => ("no_agent", 503, true, 1),
            Self::Unavailable => ("unavailable", 503, true, 3),
            Self::Timeout => ("timeout", 504, true, 1),
            Self::ApiError => ("api_error", 502, true, 1),
            Self::LlmError => ("llm_error", 502, true, 1),
            Self::Cancelled => ("cancelled", 409, false, 1),
            Self::Unhandled => ("unhandled", 500, true, 1),
            Self::Unknown => ("unknown", 500, true, 1),
        }
    }

    /// The name on the wire and in the database.
    pub const fn as_str(self) -> &'static str {
        self.row().0
    }

    /// The HTTP status of an answer with this error.
    pub const fn http_status(self) -> u16 {
        self.row().1
    }

    /// Whether the same request may succeed later, or with another agent.
    pub const fn retryable(self) -> bool {
        self.row().2
    }

    /// The exit code of the command line.
    pub const fn exit_code(self) -> u8 {
        self.row().3
    }

    /// From the name on the wire.
    pub fn from_name(name: &str) -> Self {
        Self::ALL.into_iter().find(|t| t.as_str() == name).unwrap_or(Self::Unknown)
    }
}

impl fmt::Display for ErrorType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// An error as clients see it: `{"error": {type, message, field?, details?}}` ([`ErrorBody`]).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, thiserror::Error, utoipa::ToSchema)]
#[error("{message}")]
#[serde(rename_all = "camelCase")]
pub struct ApiError {
    /// Which kind of error.
    #[serde(rename = "type")]
    pub error_type: ErrorType,
    /// One sentence that says what is wrong and, where possible, what to do. Never a secret.
    pub message: String,
    /// The offending field, as a path such as `capabilities[0].weight`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// More, in a form that depends on the type.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub details: Option<Value>,
}

impl ApiError {
    /// An error of `error_type` with a message.
    pub fn new(error_type: ErrorType, message: impl Into<String>) -> Self {
        Self { error_type, message: message.into(), field: None, details: None }
    }

    /// Wrong input in `field`.
    pub fn validation(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self { field: Some(field.into()), ..Self::new(ErrorType::Validation, message) }
    }

    /// No such thing.
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(ErrorType::NotFound, message)
    }

    /// Part of the infrastructure is away.
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self::new(ErrorType::Unavailable, message)
    }

    /// A fault of ours.
    pub fn unhandled(message: impl Into<String>) -> Self {
        Self::new(ErrorType::Unhandled, message)
    }

    /// With details.
    #[must_use]
    pub fn with_details(mut self, details: Value) -> Self {
        self.details = Some(details);
        self
    }

    /// Whether this is a fault of the infrastructure, so that a message should be delivered again.
    pub fn is_transient(&self) -> bool {
        self.error_type == ErrorType::Unavailable
    }
}

/// The body of an error answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ErrorBody {
    /// The error.
    pub error: ApiError,
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test that cannot go on should fail there")]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_round_trip_through_serde() {
        for t in ErrorType::ALL {
            assert_eq!(ErrorType::from_name(t.as_str()), t);
            assert_eq!(serde_json::to_value(t).unwrap(), t.as_str());
        }
    }
}
