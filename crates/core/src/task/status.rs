//! The states of tasks and attempts.

use serde::{Deserialize, Serialize};

/// Where a task stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema, schemars::JsonSchema)]
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema, schemars::JsonSchema)]
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
