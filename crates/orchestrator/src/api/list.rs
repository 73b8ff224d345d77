//! `GET /api/v1/tasks`.

use std::sync::Arc;

use axum::{Json, extract::State};
use mesh_six_core::{ApiError, Validate, task::TaskStatus};
use mesh_six_db::tasks::{self, Cursor, ListFilter, TaskSummary};
use mesh_six_runtime::{HttpError, ValidQuery};
use serde::{Deserialize, Serialize};

use crate::engine::Engine;

/// Most tasks on a page.
const MAX_LIMIT: i64 = 200;

/// Which tasks.
#[derive(Clone, Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ListQuery {
    /// Only those in this state.
    status: Option<TaskStatus>,
    /// Only those that ask for this.
    capability: Option<String>,
    /// Tasks on the page, 1 to 200.
    #[serde(default = "usual_limit")]
    #[param(minimum = 1, maximum = 200, default = 50)]
    limit: i64,
    /// `next` of the page before.
    after: Option<String>,
}

const fn usual_limit() -> i64 {
    50
}

impl Validate for ListQuery {
    fn validate(&self) -> Result<(), ApiError> {
        if !(1..=MAX_LIMIT).contains(&self.limit) {
            return Err(ApiError::validation(
                "limit",
                format!("limit is {}, but must be from 1 to {MAX_LIMIT}", self.limit),
            ));
        }
        if self.capability.as_ref().is_some_and(|c| c.contains('\0')) {
            return Err(ApiError::validation("capability", "must not contain U+0000"));
        }
        Ok(())
    }
}

/// A page of tasks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TaskPage {
    /// Newest first, without input and answer.
    pub tasks: Vec<TaskSummary>,
    /// `after` this is the next page; null at the end.
    pub next: Option<String>,
}

/// Lists tasks, newest first.
#[utoipa::path(
    get, path = "/api/v1/tasks", tag = "tasks", params(ListQuery),
    responses(
        (status = 200, body = TaskPage),
        (status = 400, description = "a condition is wrong; `field` names it", body = mesh_six_core::error::ErrorBody),
        (status = 503, description = "the database is away; `Retry-After` says when to try again", body = mesh_six_core::error::ErrorBody),
    )
)]
pub(super) async fn list(
    State(engine): State<Arc<Engine>>,
    ValidQuery(query): ValidQuery<ListQuery>,
) -> Result<Json<TaskPage>, HttpError> {
    let after = query.after.as_deref().map(str::parse::<Cursor>).transpose()?;
    // One more than asked for tells whether there is a next page.
    let filter = ListFilter { status: query.status, capability: query.capability, after, limit: query.limit + 1 };
    let mut found = tasks::list(&mut *engine.db.conn().await?, &filter).await?;
    let limit = usize::try_from(query.limit).unwrap_or(usize::MAX);
    let more = found.len() > limit;
    found.truncate(limit);
    let next = found.last().filter(|_| more).map(|task| Cursor::after(task).to_string());
    Ok(Json(TaskPage { tasks: found, next }))
}
