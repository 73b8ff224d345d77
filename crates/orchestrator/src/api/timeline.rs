//! `GET /api/v1/tasks/{taskId}/timeline`: a task's events, folded one by one.

use std::sync::Arc;

use axum::{Json, extract::State};
use chrono::{DateTime, Utc};
use futures_util::TryStreamExt;
use mesh_six_core::{
    ApiError, StoredEvent, Validate,
    event::{MAX_LIMIT, Position, replay::TaskState},
    time,
};
use mesh_six_runtime::{HttpError, ValidPath, ValidQuery};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use crate::engine::Engine;

/// Steps where the caller does not say: tasks have some ten events, and each step carries a state.
const DEFAULT_STEPS: u16 = 100;

/// Which of the steps.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct TimelineQuery {
    /// Only steps after this position.
    #[param(value_type = Option<String>)]
    after: Option<Position>,
    /// 1 to 1,000 steps; 100 where not given.
    limit: Option<u16>,
}

impl Validate for TimelineQuery {
    fn validate(&self) -> Result<(), ApiError> {
        match self.limit {
            Some(limit) if limit == 0 || i64::from(limit) > MAX_LIMIT => {
                Err(ApiError::validation("limit", format!("limit must be from 1 to {MAX_LIMIT}")))
            }
            _ => Ok(()),
        }
    }
}

/// One event of the task and what it made of it.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Step {
    /// When it happened, by the clock of whoever reported it.
    #[serde(with = "time::micros")]
    time: DateTime<Utc>,
    /// Milliseconds since the first event of the task; negative where clocks differ.
    elapsed_ms: i64,
    /// The event.
    event: StoredEvent,
    /// The task after this event and all before it.
    // As it is shown, since a state to go on with remembers every event that it has seen.
    #[schema(value_type = TaskState)]
    state: Value,
}

/// A task's life, step by step.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Timeline {
    /// The task.
    task_id: Uuid,
    /// In the log's order.
    steps: Vec<Step>,
    /// Position of the last step: `after` this is the next page. Null at the end.
    next: Option<Position>,
    /// What all events of the task add up to, those on other pages too.
    state: TaskState,
}

/// A task's events in order, with the state after each, by the one reducer that everyone uses.
#[utoipa::path(
    get, path = "/api/v1/tasks/{taskId}/timeline", tag = "tasks",
    params(("taskId" = Uuid, Path, description = "the task"), TimelineQuery),
    responses(
        (status = 200, body = Timeline),
        (status = 400, description = "the id or a condition is wrong; `field` names it", body = mesh_six_core::error::ErrorBody),
        (status = 404, description = "the log has no event of such a task", body = mesh_six_core::error::ErrorBody),
        (status = 410, description = "the position lies before the oldest event", body = mesh_six_core::error::ErrorBody),
        (status = 503, description = "the database is away; `Retry-After` says when to try again", body = mesh_six_core::error::ErrorBody),
    )
)]
pub(crate) async fn timeline(
    State(engine): State<Arc<Engine>>,
    ValidPath(task): ValidPath<Uuid>,
    ValidQuery(query): ValidQuery<TimelineQuery>,
) -> Result<Json<Timeline>, HttpError> {
    if let Some(after) = query.after {
        engine.log.check(after).await?;
    }
    let limit = usize::from(query.limit.unwrap_or(DEFAULT_STEPS));
    // The fold begins with the first event, whatever page is asked for.
    let mut events = std::pin::pin!(engine.log.replay(&format!("task:{task}"), None));
    let (mut state, mut began, mut steps, mut more) = (TaskState::default(), None, Vec::new(), false);
    while let Some(event) = events.try_next().await? {
        state.apply(&event);
        let time = event.event.occurred_at;
        let elapsed_ms = (time - *began.get_or_insert(time)).num_milliseconds();
        if query.after.is_some_and(|after| event.position <= after) {
            continue;
        }
        more = steps.len() == limit;
        if !more {
            steps.push(Step { time, elapsed_ms, event, state: shown(&state)? });
        }
    }
    if began.is_none() {
        let unknown = ApiError::not_found(format!("the log has no event of task {task}"));
        return Err(ApiError { field: Some("taskId".to_owned()), ..unknown }.into());
    }
    let next = steps.last().filter(|_| more).map(|step| step.event.position);
    Ok(Json(Timeline { task_id: task, steps, next, state }))
}

fn shown(state: &TaskState) -> Result<Value, ApiError> {
    serde_json::to_value(state).map_err(|error| ApiError::unhandled(error.to_string()))
}
