//! `GET /tasks/{taskId}` as the original had it (core.md §1, TaskStatus): the answer in its envelope.

use axum::{Json, extract::State};
use chrono::{DateTime, Utc};
use mesh_six_core::{
    task::{TaskResult, TaskStatus},
    time,
};
use mesh_six_runtime::{HttpError, ValidPath, ValidQuery};
use serde::Serialize;
use uuid::Uuid;

use super::{Waiting, ended, show::Wait};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct OriginalTask {
    task_id: Uuid,
    capability: String,
    dispatched_to: Option<String>,
    #[serde(with = "time::micros_option")]
    dispatched_at: Option<DateTime<Utc>>,
    status: TaskStatus,
    attempts: i32,
    #[serde(skip_serializing_if = "Option::is_none")]
    result: Option<TaskResult>,
}

pub(super) async fn show(
    state: State<Waiting>,
    ValidPath(task): ValidPath<Uuid>,
    ValidQuery(Wait { wait }): ValidQuery<Wait>,
) -> Result<Json<OriginalTask>, HttpError> {
    let task = ended(&state, task, wait).await?;
    Ok(Json(OriginalTask {
        task_id: task.summary.task_id,
        capability: task.summary.capability,
        dispatched_to: task.summary.dispatched_to,
        dispatched_at: task.summary.dispatched_at,
        status: task.summary.status,
        attempts: task.summary.attempts,
        result: task.result,
    }))
}
