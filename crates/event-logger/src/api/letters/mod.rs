//! Dead letters as a queue: list, show, replay, discard.

mod decide;
mod list;
mod sendable;
mod show;

use axum::{
    Router,
    routing::{get, post},
};
use utoipa::OpenApi;

use super::Api;
pub(crate) use decide::DECIDED;

#[derive(OpenApi)]
#[openapi(paths(list::list, show::show, decide::replay, decide::discard))]
struct Described;

pub(super) fn openapi() -> utoipa::openapi::OpenApi {
    Described::openapi()
}

/// The original had no dead letters, so there is nothing without the prefix.
pub(super) fn routes() -> Router<Api> {
    Router::new()
        .route("/api/v1/dead-letters", get(list::list))
        .route("/api/v1/dead-letters/{id}", get(show::show))
        .route("/api/v1/dead-letters/replay", post(decide::replay))
        .route("/api/v1/dead-letters/discard", post(decide::discard))
}
