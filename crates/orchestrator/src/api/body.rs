//! Bodies that several routes share.

use mesh_six_core::{
    TraceId,
    scoring::rounded_option,
    task::{Payload, TaskStatus},
};
use mesh_six_db::tasks::{Task, TaskSummary};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

/// A task was accepted and dispatched, or had been before under the same `Idempotency-Key`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Accepted {
    /// The task.
    pub task_id: Uuid,
    /// The agent of its newest attempt.
    pub dispatched_to: Option<String>,
    /// That agent's score.
    #[serde(serialize_with = "rounded_option")]
    pub score: Option<f64>,
    /// `dispatched`; for a task that was known already, where it stands.
    pub status: TaskStatus,
    /// The W3C trace id.
    pub trace_id: TraceId,
}

/// A task.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TaskView {
    /// Everything but input and answer.
    #[serde(flatten)]
    pub summary: TaskSummary,
    /// The input.
    #[schema(value_type = Object)]
    pub payload: Payload,
    /// The answer, once the task is completed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub result: Option<Value>,
}

impl From<Task> for TaskView {
    fn from(task: Task) -> Self {
        Self { result: task.result.and_then(|answer| answer.result), summary: task.summary, payload: task.payload }
    }
}
