//! `GET /api/v1/events/tail`: the log live, as server-sent events.

use std::{convert::Infallible, time::Duration};

use axum::{
    extract::State,
    http::HeaderMap,
    response::sse::{Event as SseEvent, KeepAlive, Sse},
};
use futures_util::{Stream, StreamExt, stream};
use mesh_six_core::{
    ApiError,
    event::{EventFilter, Position},
};
use mesh_six_runtime::{HttpError, ValidQuery};

use super::Api;

const LAST_EVENT_ID: &str = "Last-Event-ID";

/// Follows the log: every committed event exactly once, in the stable order, from now on or after a position.
/// `id` is the event's position: `Last-Event-ID` (or `after`) reads on there; `start` as `Last-Event-ID` is the
/// whole log. `limit`, `before` and `desc` make no sense here and are refused.
#[utoipa::path(
    get, path = "/api/v1/events/tail", tag = "events",
    params(EventFilter, ("Last-Event-ID" = Option<String>, Header, description = "a position, or start")),
    responses(
        (status = 200, description = "server-sent events; id is the position, data a StoredEvent", content_type = "text/event-stream"),
        (status = 400, description = "a condition is wrong; `field` names it", body = mesh_six_core::error::ErrorBody),
        (status = 410, description = "the position lies before the oldest event", body = mesh_six_core::error::ErrorBody),
        (status = 503, description = "the database is away; `Retry-After` says when to try again", body = mesh_six_core::error::ErrorBody),
    )
)]
pub(crate) async fn tail(
    State(api): State<Api>,
    headers: HeaderMap,
    ValidQuery(filter): ValidQuery<EventFilter>,
) -> Result<Sse<impl Stream<Item = Result<SseEvent, Infallible>>>, HttpError> {
    refuse_paging(&filter)?;
    let from = match (last_event_id(&headers)?, filter.after) {
        (Some(position), _) | (None, Some(position)) => position,
        (None, None) => api.log.head().await?,
    };
    // The stream would only end; here the caller learns why.
    api.log.check(from).await?;
    // An id alone is no event, but a reader that is cut off before the first one comes back with it.
    let begin = SseEvent::default().id(from.to_string());
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
        .take_until(api.shutdown.clone().cancelled_owned());
    let events = stream::once(std::future::ready(begin)).chain(events).map(Ok);
    Ok(Sse::new(events).keep_alive(KeepAlive::new().interval(Duration::from_secs(15))))
}

fn refuse_paging(filter: &EventFilter) -> Result<(), ApiError> {
    let given = [("limit", filter.limit.is_some()), ("before", filter.before.is_some()), ("desc", filter.desc)];
    match given.into_iter().find(|(_, given)| *given) {
        Some((field, _)) => Err(ApiError::validation(field, "a live tail has no end, so it cannot be paged")),
        None => Ok(()),
    }
}

fn last_event_id(headers: &HeaderMap) -> Result<Option<Position>, ApiError> {
    let Some(value) = headers.get(LAST_EVENT_ID) else { return Ok(None) };
    match value.to_str() {
        Ok("start") => Ok(Some(Position::START)),
        text => match text.map(str::parse) {
            Ok(Ok(position)) => Ok(Some(position)),
            _ => Err(ApiError::validation(LAST_EVENT_ID, "not a position of this log, nor start")),
        },
    }
}
