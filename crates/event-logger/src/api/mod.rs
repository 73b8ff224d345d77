//! The API of the event log and of the dead letters.

mod horizon;
mod letters;
mod query;
mod replay;
mod stats;
mod tail;

use axum::{Router, routing::get};
use mesh_six_db::{Database, events::EventLog};
use tokio_util::sync::CancellationToken;
use utoipa::OpenApi;

pub(crate) use letters::DECIDED;

#[derive(Clone)]
struct Api {
    db: Database,
    log: EventLog,
    shutdown: CancellationToken,
}

/// The paths of this service, described.
#[derive(OpenApi)]
#[openapi(
    paths(horizon::horizon, query::query, replay::replay, stats::stats, tail::tail, schema),
    components(schemas(mesh_six_core::StoredEvent, mesh_six_core::error::ErrorBody))
)]
struct Described;

/// The description of the public API, to be merged with the other services'.
pub fn openapi() -> utoipa::openapi::OpenApi {
    let mut described = Described::openapi();
    described.merge(letters::openapi());
    described
}

/// Under `/api/v1` and, as in the original, without it.
pub(crate) fn routes(db: Database, log: EventLog, shutdown: CancellationToken) -> Router {
    let mut routes = Router::new();
    for prefix in ["/api/v1", ""] {
        routes = routes
            .route(&format!("{prefix}/events"), get(query::query))
            .route(&format!("{prefix}/events/replay/{{aggregate}}"), get(replay::replay))
            .route(&format!("{prefix}/events/horizon"), get(horizon::horizon))
            .route(&format!("{prefix}/events/stats"), get(stats::stats))
            .route(&format!("{prefix}/events/tail"), get(tail::tail))
            .route(&format!("{prefix}/events/schema"), get(schema));
    }
    routes.merge(letters::routes()).with_state(Api { db, log, shutdown })
}

/// JSON Schemas of the events and their payloads.
#[utoipa::path(get, path = "/api/v1/events/schema", tag = "events", responses((status = 200, description = "JSON Schemas by event type")))]
async fn schema() -> axum::Json<serde_json::Value> {
    axum::Json(mesh_six_core::event::schema())
}
