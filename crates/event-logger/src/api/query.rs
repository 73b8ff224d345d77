//! `GET /api/v1/events`.

use axum::{Json, extract::State};
use mesh_six_core::{
    StoredEvent,
    event::{EventFilter, Position},
};
use mesh_six_runtime::{HttpError, ValidQuery};
use serde::Serialize;

use super::Api;

/// Events, and from where to read on.
#[derive(Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Page {
    /// In the order asked for.
    events: Vec<StoredEvent>,
    /// Position of the last one: `after` (or, newest first, `before`) this is the next page. Null at the end.
    next: Option<Position>,
}

/// Finds events.
#[utoipa::path(
    get, path = "/api/v1/events", tag = "events", params(EventFilter),
    responses(
        (status = 200, body = Page),
        (status = 400, description = "a condition is wrong; `field` names it", body = mesh_six_core::error::ErrorBody),
        (status = 410, description = "the position lies before the oldest event", body = mesh_six_core::error::ErrorBody),
        (status = 503, description = "the database is away; `Retry-After` says when to try again", body = mesh_six_core::error::ErrorBody),
    )
)]
pub(crate) async fn query(
    State(api): State<Api>,
    ValidQuery(filter): ValidQuery<EventFilter>,
) -> Result<Json<Page>, HttpError> {
    if let Some(after) = filter.after {
        api.log.check(after).await?;
    }
    let events = api.log.query(&filter).await?;
    let full = i64::try_from(events.len()).unwrap_or(i64::MAX) >= filter.limit();
    let next = events.last().filter(|_| full).map(|e| e.position);
    Ok(Json(Page { events, next }))
}
