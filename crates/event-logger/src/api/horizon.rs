//! `GET /api/v1/events/horizon`.

use axum::{Json, extract::State};
use mesh_six_db::events::HorizonReport;
use mesh_six_runtime::HttpError;

use super::Api;

/// How far live tails are held back, and by whose open transaction: newer events are stored, but not shown yet.
#[utoipa::path(
    get, path = "/api/v1/events/horizon", tag = "events",
    responses(
        (status = 200, body = HorizonReport),
        (status = 503, description = "the database is away; `Retry-After` says when to try again", body = mesh_six_core::error::ErrorBody),
    )
)]
pub(crate) async fn horizon(State(api): State<Api>) -> Result<Json<HorizonReport>, HttpError> {
    Ok(Json(api.log.horizon().await?))
}
