//! What a task's events add up to (core.md §8): one pure reducer.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::StoredEvent;
use crate::{Usage, task::TaskStatus};

/// A task as its events tell it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TaskState {
    /// The task, once an event named it.
    pub task_id: Option<Uuid>,
    /// Where it stands.
    pub status: Option<TaskStatus>,
    /// Tokens and cost of its model requests.
    pub usage: Usage,
}

impl TaskState {
    /// The state after `event`.
    pub fn apply(&mut self, event: &StoredEvent) {
        let _ = event;
    }
}
