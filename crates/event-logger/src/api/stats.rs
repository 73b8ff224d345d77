//! `GET /api/v1/events/stats`.

use axum::{Json, extract::State};
use mesh_six_db::stats::{self, Stats, StatsFilter};
use mesh_six_runtime::{HttpError, ValidQuery};

use super::Api;

/// Counts, errors, tokens, cost and latency of the events of a window, by type, agent and model.
#[utoipa::path(
    get, path = "/api/v1/events/stats", tag = "events", params(StatsFilter),
    responses(
        (status = 200, body = Stats),
        (status = 400, description = "a condition is wrong; `field` names it", body = mesh_six_core::error::ErrorBody),
        (status = 503, description = "the database is away; `Retry-After` says when to try again", body = mesh_six_core::error::ErrorBody),
    )
)]
pub(crate) async fn stats(
    State(api): State<Api>,
    ValidQuery(filter): ValidQuery<StatsFilter>,
) -> Result<Json<Stats>, HttpError> {
    let mut conn = api.db.conn().await?;
    Ok(Json(stats::stats(&mut conn, &filter).await?))
}
