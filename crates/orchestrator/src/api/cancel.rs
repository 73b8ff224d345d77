//! `DELETE /api/v1/tasks/{taskId}`.

use std::sync::Arc;

use axum::{Json, extract::State};
use mesh_six_db::tasks::{self, Verdict};
use mesh_six_runtime::{HttpError, ValidPath};
use uuid::Uuid;

use super::{body::TaskView, no_task};
use crate::engine::Engine;

/// Cancels a task. Its agent is told to stop, and an answer no longer counts.
#[utoipa::path(
    delete, path = "/api/v1/tasks/{taskId}", tag = "tasks", params(("taskId" = Uuid, Path)),
    responses(
        (status = 200, description = "cancelled, now or before", body = TaskView),
        (status = 400, description = "the id is no UUID", body = mesh_six_core::error::ErrorBody),
        (status = 404, description = "there is no such task", body = mesh_six_core::error::ErrorBody),
        (status = 409, description = "it has ended otherwise", body = mesh_six_core::error::ErrorBody),
        (status = 503, description = "the database is away; `Retry-After` says when to try again", body = mesh_six_core::error::ErrorBody),
    )
)]
pub(super) async fn cancel(
    State(engine): State<Arc<Engine>>,
    ValidPath(task): ValidPath<Uuid>,
) -> Result<Json<TaskView>, HttpError> {
    let mut conn = engine.db.conn().await?;
    let change = tasks::cancel(&mut conn, task, engine.claimant).await?;
    if engine.follow(task, change) == Verdict::Unknown {
        return Err(no_task(task));
    }
    let found = tasks::get(&mut conn, task).await?.ok_or_else(|| no_task(task))?;
    Ok(Json(found.into()))
}
