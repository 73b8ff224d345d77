//! What the dashboard is told of tasks (dashboard.md §1). Of agents it is told their registration.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{
    ErrorType, Event,
    event::{
        catalogue,
        payload::{Dispatched, TaskEnd},
    },
    time,
};

/// Where a task stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Standing {
    /// An attempt has failed and the next one is due.
    Pending,
    /// An attempt is under way.
    Dispatched,
    /// An attempt has ended without an answer and the next one is due.
    Timeout,
    /// It has ended with an answer.
    Completed,
    /// It has ended without one.
    Failed,
    /// It was ended by its owner.
    Cancelled,
}

/// A change of a task, without its input and answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TaskNote {
    /// The task.
    pub task_id: Uuid,
    /// What is asked for.
    pub capability: String,
    /// Where it stands now.
    pub status: Standing,
    /// The agent of the newest attempt; once completed, the one that answered.
    pub agent_id: Option<String>,
    /// The same, under the name that it has in the API.
    pub dispatched_to: Option<String>,
    /// Attempts begun.
    pub attempts: i32,
    /// Why the newest attempt failed, if it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_type: Option<ErrorType>,
    /// From acceptance to the end, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration_ms: Option<i64>,
    /// When it changed.
    #[serde(with = "time::micros")]
    pub timestamp: DateTime<Utc>,
}

impl TaskNote {
    /// A change without error, of which nothing more is known.
    pub fn new(task: Uuid, capability: &str, status: Standing, agent: Option<String>, at: DateTime<Utc>) -> Self {
        Self {
            task_id: task,
            capability: capability.to_owned(),
            status,
            dispatched_to: agent.clone(),
            agent_id: agent,
            attempts: 0,
            error_type: None,
            duration_ms: None,
            timestamp: at,
        }
    }

    /// What `event`, a fact of a task that asks for `capability`, says: only that an attempt has begun and that the
    /// task has ended. Between them the task's table knows more.
    pub fn of_event(event: &Event, capability: &str) -> Option<Self> {
        let (task, at) = (event.task_id?, event.occurred_at);
        let status = match event.event_type.as_str() {
            catalogue::TASK_DISPATCHED => {
                let begun = Dispatched::deserialize(&event.payload).ok()?;
                let note = Self::new(task, capability, Standing::Dispatched, Some(begun.target_agent), at);
                return Some(Self { attempts: begun.attempt, ..note });
            }
            catalogue::TASK_COMPLETED => Standing::Completed,
            catalogue::TASK_FAILED => Standing::Failed,
            catalogue::TASK_CANCELLED => Standing::Cancelled,
            _ => return None,
        };
        let end = TaskEnd::deserialize(&event.payload).ok()?;
        let note = Self::new(task, capability, status, end.agent_id, at);
        Some(Self { attempts: end.attempts, error_type: end.error_type, duration_ms: Some(end.duration_ms), ..note })
    }
}
