//! Calling an app's router as a sidecar would call its port.

use std::{panic::AssertUnwindSafe, time::Duration};

use axum::{
    Router,
    body::{Body, to_bytes},
};
use bytes::Bytes;
use futures_util::FutureExt;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, header};
use tokio::time::timeout;
use tower::ServiceExt;

use crate::limits::MAX_ANSWER_BYTES;

/// The header of W3C trace context.
pub(super) const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum CallError {
    /// The path or a header is no such thing.
    #[error("the request is malformed")]
    Malformed(#[from] http::Error),
    /// The app did not answer in time.
    #[error("no answer within {0:?}")]
    Timeout(Duration),
    /// The answer could not be read.
    #[error("the answer is too large or broke off")]
    Answer,
}

/// Calls `path`; a panic of the app is its answer 500. The app's work is cancelled when the time is up, as it is
/// when a sidecar hangs up.
pub(super) async fn call(
    router: Router,
    method: Method,
    path: &str,
    headers: HeaderMap,
    body: Vec<u8>,
    limit: Duration,
) -> Result<(u16, Bytes), CallError> {
    let mut request = Request::builder().method(method).uri(path).body(Body::from(body))?;
    *request.headers_mut() = headers;
    request.headers_mut().insert(header::HOST, HeaderValue::from_static("localhost"));
    request.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    let answer = AssertUnwindSafe(async {
        let Ok(response) = router.oneshot(request).await;
        let status = response.status().as_u16();
        to_bytes(response.into_body(), MAX_ANSWER_BYTES).await.map(|body| (status, body)).map_err(|_| CallError::Answer)
    });
    match timeout(limit, answer.catch_unwind()).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(_)) => Ok((500, Bytes::new())),
        Err(_) => Err(CallError::Timeout(limit)),
    }
}
