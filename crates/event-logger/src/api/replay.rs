//! `GET /api/v1/events/replay/{aggregate}`: a stream of JSON lines, in constant memory.

use axum::{
    body::{Body, Bytes},
    extract::State,
    http::header,
    response::{IntoResponse, Response},
};
use futures_util::StreamExt;
use mesh_six_core::{
    ApiError, Validate,
    event::{EventFilter, Position},
};
use mesh_six_runtime::{HttpError, ValidPath, ValidQuery};
use serde::Deserialize;

use super::Api;

/// From where to replay.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ReplayQuery {
    /// Only events after this position.
    #[param(value_type = Option<String>)]
    after: Option<Position>,
}

impl Validate for ReplayQuery {
    fn validate(&self) -> Result<(), ApiError> {
        Ok(())
    }
}

/// The events of one aggregate, such as `task:{id}`, in order, one JSON object a line.
#[utoipa::path(
    get, path = "/api/v1/events/replay/{aggregate}", tag = "events",
    params(("aggregate" = String, Path, description = "such as task:{id}"), ReplayQuery),
    responses(
        (status = 200, description = "JSON lines of StoredEvent", content_type = "application/x-ndjson"),
        (status = 400, description = "the aggregate or the position is none", body = mesh_six_core::error::ErrorBody),
        (status = 410, description = "the position lies before the oldest event", body = mesh_six_core::error::ErrorBody),
        (status = 503, description = "the database is away; `Retry-After` says when to try again", body = mesh_six_core::error::ErrorBody),
    )
)]
pub(crate) async fn replay(
    State(api): State<Api>,
    ValidPath(aggregate): ValidPath<String>,
    ValidQuery(ReplayQuery { after }): ValidQuery<ReplayQuery>,
) -> Result<Response, HttpError> {
    EventFilter { aggregate_id: Some(aggregate.clone()), ..EventFilter::default() }.validate()?;
    if let Some(after) = after {
        api.log.check(after).await?;
    }
    let mut events = Box::pin(api.log.replay(&aggregate, after));
    // The first page decides the status: after it only the connection's end can tell of an error.
    let first = events.next().await.transpose()?;
    let lines = futures_util::stream::iter(first.map(Ok)).chain(events).map(|event| {
        let event = event.inspect_err(|error| tracing::warn!(error = %error, "a replay was broken off"))?;
        let mut line = serde_json::to_vec(&event).map_err(std::io::Error::other)?;
        line.push(b'\n');
        Ok::<Bytes, axum::BoxError>(line.into())
    });
    Ok(([(header::CONTENT_TYPE, "application/x-ndjson")], Body::from_stream(lines)).into_response())
}
