//! `GET /api/v1/events/tail`: the log live, as server-sent events.

use std::{convert::Infallible, time::Duration};

use axum::{
    extract::State,
    http::HeaderMap,
    response::sse::{Event as SseEvent, KeepAlive, Sse},
};
use futures_util::{Stream, StreamExt};
use mesh_six_core::{ApiError, event::{EventFilter, Position}};
use mesh_six_runtime::{HttpError, ValidQuery};

use super::Api;

/// Follows the log: every committed event exactly once, in the stable order, from now on or after a position.
/// `id` is the event's position: `Last-Event-ID` (or `after`) reads on there; `start` is the whole log.
#[utoipa::path(
    get, path = "/api/v1/events/tail", tag = "events",
    params(EventFilter, ("Last-Event-ID" = Option<String>, Header, description = "a position, or start")),
    responses(
        (status = 200, description = "server-sent events; id is the position, data a StoredEvent", content_type = "text/event-stream"),
        (status = 410, description = "the position lies before the oldest event", body = mesh_six_core::error::ErrorBody),
    )
)]
pub(crate) async fn tail(
    State(api): State<Api>,
    headers: HeaderMap,
    ValidQuery(filter): ValidQuery<EventFilter>,
) -> Result<Sse<impl Stream<Item = Result<SseEvent, Infallible>>>, HttpError> {
    let from = match (headers.get("last-event-id").map(|h| h.to_str()), filter.after) {
        (Some(Ok("start")), _) => Position::START,
        (Some(Ok(text)), _) => text.parse()?,
        (Some(Err(_)), _) => return Err(ApiError::validation("Last-Event-ID", "not a position").into()),
        (None, Some(after)) => after,
        (None, None) => api.log.head().await?,
    };
    let events = api
        .log
        .follow(from)
        .take_while(|event| {
            // The follower itself outlives outages; what ends it cannot be cured by going on.
            if let Err(error) = event {
                tracing::warn!(error = %error, "a live tail was ended");
            }
            std::future::ready(event.is_ok())
        })
        .filter_map(move |event| {
            let shown = event.ok().filter(|e| filter.matches(e));
            std::future::ready(shown.and_then(|e| SseEvent::default().id(e.position.to_string()).json_data(&e).ok()))
        })
        .map(Ok)
        .take_until(api.shutdown.clone().cancelled_owned());
    Ok(Sse::new(events).keep_alive(KeepAlive::new().interval(Duration::from_secs(15))))
}
