//! `POST /api/v1/tasks`.

use std::sync::atomic::Ordering;

use axum::{
    Json,
    extract::State,
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
};
use mesh_six_core::{
    ApiError, ErrorType,
    id::new_id,
    task::{NewTaskBody, SOMEBODY, TaskStatus},
};
use mesh_six_db::tasks::{self, NewTask, Submitted};
use mesh_six_runtime::{HttpError, RequestTrace, ValidJson};
use serde_json::json;

use super::{
    Waiting,
    body::{Accepted, TaskView},
    ended,
};
use crate::{engine::Engine, metrics};

/// The header by which a second try of a submission is the same task.
const KEY: &str = "Idempotency-Key";
/// Its longest value.
const MAX_KEY: usize = 255;

/// Accepts a task and gives it to the best agent.
#[utoipa::path(
    post, path = "/api/v1/tasks", tag = "tasks", request_body = NewTaskBody,
    params(("Idempotency-Key" = Option<String>, Header, description = "the same key gives the same task, however often it is sent")),
    responses(
        (status = 200, description = "accepted; with `wait`, the task at its end (TaskView)", body = Accepted),
        (status = 202, description = "accepted, but not at its end within `wait`; where the wait was broken off, what was accepted (Accepted)", body = TaskView),
        (status = 400, description = "a field is wrong; `field` names it", body = mesh_six_core::error::ErrorBody),
        (status = 409, description = "the key was used for another task", body = mesh_six_core::error::ErrorBody),
        (status = 413, description = "body or payload are too large", body = mesh_six_core::error::ErrorBody),
        (status = 503, description = "no agent can take it (`no_agent`, with their scores), or the database is away; nothing was accepted", body = mesh_six_core::error::ErrorBody),
    )
)]
pub(super) async fn submit(
    state: State<Waiting>,
    trace: RequestTrace,
    headers: HeaderMap,
    ValidJson(body): ValidJson<NewTaskBody>,
) -> Result<Response, HttpError> {
    if state.engine.hangs.load(Ordering::Relaxed) {
        return Err(ApiError::unavailable("the database does not answer; try again later").into());
    }
    let wait = body.wait;
    let task = new_task(body, trace, client_key(&headers)?);
    let accepted = match accept(&state.engine, &task).await {
        // The agents of a mesh that is ending leave first: that is no lack of agents.
        Err(HttpError(error)) if error.error_type == ErrorType::NoAgent && state.ending.is_cancelled() => {
            return Err(ApiError::unavailable("this mesh is ending; try again when it is back").into());
        }
        accepted => accepted?,
    };
    if wait == 0 {
        return Ok(Json(accepted).into_response());
    }
    let task = match ended(&state, accepted.task_id, wait).await {
        Ok(task) => task,
        // An error would say that nothing was accepted, and keep the id from the caller.
        Err(error) => {
            tracing::debug!(task.id = %accepted.task_id, error = %error, "a wait was broken off");
            return Ok((StatusCode::ACCEPTED, Json(accepted)).into_response());
        }
    };
    let status = if task.summary.status.is_final() { StatusCode::OK } else { StatusCode::ACCEPTED };
    Ok((status, Json(TaskView::from(task))).into_response())
}

fn client_key(headers: &HeaderMap) -> Result<Option<String>, ApiError> {
    let Some(value) = headers.get(KEY) else { return Ok(None) };
    match value.to_str() {
        Ok(key) if (1..=MAX_KEY).contains(&key.len()) => Ok(Some(key.to_owned())),
        _ => Err(ApiError::validation(KEY, format!("1 to {MAX_KEY} visible ASCII characters"))),
    }
}

fn new_task(body: NewTaskBody, trace: RequestTrace, client_key: Option<String>) -> NewTask {
    let (trace_id, traceparent) = match body.trace_id {
        Some(id) if id != trace.trace_id => (id, id.to_traceparent()),
        _ => (trace.trace_id, trace.traceparent),
    };
    NewTask {
        id: new_id(),
        client_key,
        capability: body.capability,
        payload: body.payload,
        priority: body.priority,
        timeout: body.timeout,
        requested_by: body.requested_by.unwrap_or_else(|| SOMEBODY.to_owned()),
        user_id: body.user_id,
        trace_id,
        traceparent,
    }
}

async fn accept(engine: &Engine, task: &NewTask) -> Result<Accepted, HttpError> {
    // A known key is answered even if no agent could take the task now.
    if task.client_key.is_some()
        && let Some(known) = tasks::by_client_key(&mut *engine.db.conn().await?, task).await?
    {
        return Ok(as_accepted(known));
    }
    let cards = engine.routing.scores(&task.capability).await.map_err(ApiError::from)?;
    let Some(to) = engine.routing.choose(&cards, task.priority) else {
        metrics::refused();
        let message = match cards.len() {
            0 => format!("no agent can do {}", task.capability),
            n => format!("none of the {n} agents that can do {} is able to now", task.capability),
        };
        let details = json!({ "capability": task.capability, "scores": cards });
        return Err(ApiError::new(ErrorType::NoAgent, message).with_details(details).into());
    };
    let submitted = tasks::submit(&mut *engine.db.conn().await?, task, &to, engine.claimant).await?;
    match submitted {
        Submitted::Known(known) => Ok(as_accepted(*known)),
        Submitted::Accepted(outgoing) => {
            engine.committed(&task.capability, outgoing);
            metrics::submitted(&task.capability);
            Ok(Accepted {
                task_id: task.id,
                dispatched_to: Some(to.agent),
                score: Some(to.score),
                status: TaskStatus::Dispatched,
                trace_id: task.trace_id,
            })
        }
    }
}

fn as_accepted(task: tasks::Task) -> Accepted {
    let task = task.summary;
    Accepted {
        task_id: task.task_id,
        dispatched_to: task.dispatched_to,
        score: task.score,
        status: task.status,
        trace_id: task.trace_id,
    }
}
