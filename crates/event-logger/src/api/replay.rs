//! `GET /api/v1/events/replay/{aggregate}`: a stream of JSON lines, in constant memory.

use axum::{
    body::{Body, Bytes},
    extract::State,
    http::header,
    response::{IntoResponse, Response},
};
use futures_util::StreamExt;
use mesh_six_core::{ApiError, Validate, event::Position};
use mesh_six_runtime::{HttpError, ValidPath, ValidQuery};
use serde::Deserialize;

use super::Api;

/// From where to replay.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct From {
    /// Only events after this position.
    #[param(value_type = Option<String>)]
    after: Option<Position>,
}

impl Validate for From {
    fn validate(&self) -> Result<(), ApiError> {
        Ok(())
    }
}

/// The events of one aggregate, such as `task:{id}`, in order, one JSON object a line.
#[utoipa::path(
    get, path = "/api/v1/events/replay/{aggregate}", tag = "events",
    params(("aggregate" = String, Path, description = "such as task:{id}"), From),
    responses((status = 200, description = "JSON lines of StoredEvent", content_type = "application/x-ndjson"))
)]
pub(crate) async fn replay(
    State(api): State<Api>,
    ValidPath(aggregate): ValidPath<String>,
    ValidQuery(from): ValidQuery<From>,
) -> Result<Response, HttpError> {
    let mut events = Box::pin(api.log.replay(&aggregate, from.after));
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
