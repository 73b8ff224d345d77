//! `GET /api/v1/tasks/{taskId}`.

use axum::{Json, extract::State};
use mesh_six_core::{ApiError, Validate, task::check_wait};
use mesh_six_runtime::{HttpError, ValidPath, ValidQuery};
use serde::Deserialize;
use uuid::Uuid;

use super::{Waiting, body::TaskView, ended};

/// How long to wait.
#[derive(Clone, Copy, Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Wait {
    /// Seconds to wait for the end of the task, at most 900.
    #[serde(default)]
    pub(super) wait: u32,
}

impl Validate for Wait {
    fn validate(&self) -> Result<(), ApiError> {
        check_wait(self.wait)
    }
}

/// Shows a task, with its answer once it is completed.
#[utoipa::path(
    get, path = "/api/v1/tasks/{taskId}", tag = "tasks", params(("taskId" = Uuid, Path), Wait),
    responses(
        (status = 200, body = TaskView),
        (status = 400, description = "the id is no UUID", body = mesh_six_core::error::ErrorBody),
        (status = 404, description = "there is no such task", body = mesh_six_core::error::ErrorBody),
        (status = 503, description = "the database is away; `Retry-After` says when to try again", body = mesh_six_core::error::ErrorBody),
    )
)]
pub(super) async fn show(
    state: State<Waiting>,
    ValidPath(task): ValidPath<Uuid>,
    ValidQuery(Wait { wait }): ValidQuery<Wait>,
) -> Result<Json<TaskView>, HttpError> {
    Ok(Json(ended(&state, task, wait).await?.into()))
}
