//! The agents' inbox: what an agent has accepted, who works on it, and what came out (messaging.md §2-§3).
//!
//! The broker only transports; the queue is this table, and the replicas of an agent share it. A row goes
//! queued -> running -> done -> published. A running row is never claimed again: its attempt ends as
//! `unavailable` when its lease expires, so that one attempt never runs its model twice. All times are the
//! database's.

mod accept;
mod relay;
mod upkeep;
mod work;

use std::time::Duration;

use mesh_six_core::{
    ApiError,
    task::{TaskRequest, TaskResult},
};
use serde_json::Value;
use uuid::Uuid;

use crate::error::{DbError, DbResult};
pub use accept::accept;
pub use relay::{postpone, published, unpublished};
pub use upkeep::{KEEP, expired, prune, queued};
pub use work::{claim, finish, renew};

/// What became of a delivered request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accepted {
    /// It is new and now queued.
    Queued,
    /// It is queued or running already: nothing to do.
    Known,
    /// It is done already; its stored result is due for publishing again.
    Done,
    /// The attempt has ended, or its deadline has passed.
    NotExpected,
    /// No attempt names this agent: the orchestrator did not send this.
    NobodyAsked,
}

/// Which row: one attempt of one task by one agent.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct InboxKey {
    /// The task.
    pub task_id: Uuid,
    /// The attempt, from 1.
    pub attempt: i32,
    /// The agent.
    pub agent_id: String,
}

impl InboxKey {
    /// The row that `request` has with `agent`.
    pub fn of_request(request: &TaskRequest, agent: &str) -> Self {
        Self { task_id: request.id, attempt: request.attempt, agent_id: agent.to_owned() }
    }

    /// The row that `result` belongs to.
    pub fn of_result(result: &TaskResult) -> Self {
        Self { task_id: result.task_id, attempt: result.attempt, agent_id: result.agent_id.clone() }
    }
}

/// A request to be worked on now.
#[derive(Clone, Debug, PartialEq)]
pub struct Claim {
    /// What is asked.
    pub request: TaskRequest,
    /// Time left until the attempt's deadline.
    pub remaining: Duration,
    /// The span that delivered it, if it was delivered in a trace.
    pub traceparent: Option<String>,
}

/// How a running row stands when its lease is renewed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Renewed {
    /// Renewed, and the attempt is still open.
    Open,
    /// Renewed, but the orchestrator has ended the attempt; a result would be late.
    Ended,
    /// Renewed, but the task was cancelled: nobody wants the result.
    Cancelled,
    /// The row is gone or somebody else's.
    Lost,
}

/// What became of a finished row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finished {
    /// The result and its events are written, now or by an earlier try whose answer was lost. `late`: the
    /// attempt had ended before.
    Written {
        /// Whether the attempt had already ended.
        late: bool,
    },
    /// The row is not this owner's: nothing was written.
    Fenced,
}

/// A result that is to be published.
#[derive(Clone, Debug, PartialEq)]
pub struct Unpublished {
    /// The whole result.
    pub result: TaskResult,
    /// How often publishing was tried before.
    pub tries: i32,
    /// The span that made it, or what is known of its trace.
    pub traceparent: Option<String>,
}

fn json<T: serde::Serialize>(value: &T) -> DbResult<String> {
    serde_json::to_string(value)
        .map_err(|e| DbError::Refused(ApiError::unhandled(format!("not to be written as JSON: {e}"))))
}

/// A row that an older or newer version wrote and this one cannot read must not stop the others: it is left
/// to its lease and its deadline.
fn readable<T: serde::de::DeserializeOwned>(value: Value) -> Option<T> {
    serde_json::from_value(value)
        .inspect_err(|error| tracing::error!(error = %error, "a row of the inbox cannot be read"))
        .ok()
}

fn count(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
