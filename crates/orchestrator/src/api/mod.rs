//! The public API: under `/api/v1`, and tasks and agents also where the original had them.

mod agents;
mod body;
mod cancel;
mod history;
mod list;
mod original;
mod show;
mod submit;
mod timeline;

use std::{sync::Arc, time::Duration};

use axum::{
    Json, Router,
    extract::State,
    routing::{get, post},
};
use mesh_six_core::{ApiError, ErrorType};
use mesh_six_runtime::HttpError;
use tokio_util::sync::CancellationToken;
use utoipa::OpenApi;
use uuid::Uuid;

use crate::engine::Engine;
pub use agents::{AgentList, Scores};
pub use body::{Accepted, TaskView};
pub use list::TaskPage;

/// Paths of the API begin like this, or like the original's with nothing.
const PREFIXES: [&str; 2] = ["/api/v1", ""];

#[derive(OpenApi)]
#[openapi(
    info(
        title = "mesh-six",
        description = "Tasks, agents and the event log of a mesh of agents.",
        license(name = "Apache-2.0")
    ),
    paths(
        submit::submit,
        show::show,
        list::list,
        cancel::cancel,
        timeline::timeline,
        agents::list,
        agents::scores,
        history::history
    ),
    components(schemas(mesh_six_core::error::ErrorBody))
)]
struct Described;

/// The description of the orchestrator's part of the public API.
pub fn openapi() -> utoipa::openapi::OpenApi {
    Described::openapi()
}

/// Routes that answer at once.
pub(crate) fn quick(engine: &Arc<Engine>, others: Vec<utoipa::openapi::OpenApi>) -> Router {
    let mut whole = openapi();
    for other in others {
        whole.merge(other);
    }
    let whole = Arc::new(whole);
    let described = get(move || {
        let whole = Arc::clone(&whole);
        async move { Json((*whole).clone()) }
    });
    let mut routes = Router::new().route("/api/v1/openapi.json", described);
    for prefix in PREFIXES {
        routes = routes
            .route(&format!("{prefix}/tasks"), get(list::list))
            .route(&format!("{prefix}/tasks/{{taskId}}"), axum::routing::delete(cancel::cancel))
            .route(&format!("{prefix}/tasks/{{taskId}}/timeline"), get(timeline::timeline))
            .route(&format!("{prefix}/agents"), get(agents::list))
            .route(&format!("{prefix}/agents/score/{{capability}}"), get(agents::scores))
            .route(&format!("{prefix}/agents/{{agentId}}/history"), get(history::history));
    }
    routes.with_state(Arc::clone(engine))
}

/// What routes that may wait for a task's end need.
#[derive(Clone)]
struct Waiting {
    engine: Arc<Engine>,
    /// Nobody may wait any more.
    stop: CancellationToken,
    /// The service ends; what drains may still be waited for.
    ending: CancellationToken,
}

/// Routes that may wait for a task's end; they bound that themselves.
pub(crate) fn waiting(engine: &Arc<Engine>, stop: CancellationToken, ending: CancellationToken) -> Router {
    let mut routes = Router::new();
    for prefix in PREFIXES {
        routes = routes.route(&format!("{prefix}/tasks"), post(submit::submit));
    }
    routes
        .route("/api/v1/tasks/{taskId}", get(show::show))
        .route("/tasks/{taskId}", get(original::show))
        .with_state(Waiting { engine: Arc::clone(engine), stop, ending })
}

/// The task, after waiting for its end at most `seconds`.
async fn ended(
    State(waiting): &State<Waiting>,
    task: Uuid,
    seconds: u32,
) -> Result<mesh_six_db::tasks::Task, HttpError> {
    let wait = Duration::from_secs(u64::from(seconds));
    waiting.engine.wait_for_end(task, wait, &waiting.stop).await?.ok_or_else(|| no_task(task))
}

fn no_task(task: Uuid) -> HttpError {
    ApiError {
        field: Some("taskId".to_owned()),
        ..ApiError::new(ErrorType::NotFound, format!("there is no task {task}"))
    }
    .into()
}
