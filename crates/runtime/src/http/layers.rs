//! The layers of the shell, each a small function around the next one.

use std::{
    any::Any,
    sync::Arc,
    time::{Duration, Instant},
};

use ::metrics::{counter, histogram};
use axum::{
    body::Body,
    extract::{MatchedPath, Request, State},
    http::{Method, StatusCode},
    middleware::Next,
    response::{IntoResponse, Response},
};
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use mesh_six_core::{ApiError, ErrorType, names::MAX_BODY_BYTES};
use tracing::{Instrument, Level, Span, field};

use super::{Auth, HttpError, RequestTrace};
use crate::metrics::{HTTP_REQUESTS, HTTP_SECONDS, PANICS};

/// How long a caller may take to send its body.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);
/// How much of a body that is too large is still read, so that the caller gets to see our answer instead of a
/// connection that breaks while it sends.
const DRAIN_BYTES: usize = 8 * MAX_BODY_BYTES;

/// A span with the caller's trace, counters, and a line at debug level.
pub(super) async fn observe(State(service): State<Arc<str>>, mut request: Request, next: Next) -> Response {
    let begun = Instant::now();
    let method = method_name(request.method());
    let route = request.extensions().get::<MatchedPath>().map_or("none", MatchedPath::as_str).to_owned();
    let span = span(&service, method, &route);
    let trace = RequestTrace::begin(&span, request.headers());
    span.record("traceId", tracing::field::display(trace.trace_id));
    request.extensions_mut().insert(trace);
    async move {
        let answer = next.run(request).await;
        let status = answer.status().as_u16();
        let span = Span::current();
        span.record("http.response.status_code", status);
        if status >= 500 {
            span.record("error.type", status.to_string());
            span.record("otel.status_code", "ERROR");
        }
        let took = begun.elapsed();
        tracing::debug!(
            http.response.status_code = status,
            http.duration_ms = took.as_secs_f64() * 1e3,
            "request answered"
        );
        let labels = [("service", service.to_string()), ("method", method.to_owned()), ("route", route)];
        histogram!(HTTP_SECONDS.name, &labels).record(took);
        let [service, method, route] = labels;
        counter!(HTTP_REQUESTS.name, &[service, method, route, ("status", status.to_string())]).increment(1);
        answer
    }
    .instrument(span)
    .await
}

/// The span of a request. Those of probes and scrapes, which come every few seconds, are not worth a trace.
fn span(service: &str, method: &'static str, route: &str) -> Span {
    macro_rules! request_span {
        ($level:expr) => {
            tracing::span!(
                $level,
                "http.request",
                otel.name = format!("{method} {route}"),
                otel.kind = "server",
                otel.status_code = field::Empty,
                service,
                http.request.method = method,
                http.route = route,
                http.response.status_code = field::Empty,
                error.type = field::Empty,
                traceId = field::Empty,
            )
        };
    }
    match route {
        "/healthz" | "/readyz" | "/metrics" | "/version" | "/dapr/subscribe" => request_span!(Level::DEBUG),
        _ => request_span!(Level::INFO),
    }
}

/// Callers may invent methods; metrics must not grow with them.
fn method_name(method: &Method) -> &'static str {
    const KNOWN: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
    KNOWN.into_iter().find(|m| *m == method.as_str()).unwrap_or("other")
}

/// A handler's panic, as an answer. Its message may hold data and stays in the log.
pub(super) fn panicked(_: Box<dyn Any + Send>) -> Response {
    counter!(PANICS.name, "where" => "http").increment(1);
    HttpError(ApiError::unhandled("the request failed through a fault of this service")).into_response()
}

/// Host and Origin, where the listener is on loopback.
pub(super) async fn check_origin(State(auth): State<Arc<Auth>>, request: Request, next: Next) -> Response {
    match auth.check_origin(request.headers()) {
        Ok(()) => next.run(request).await,
        Err(error) => HttpError(error).into_response(),
    }
}

/// The bearer token.
pub(super) async fn check_token(State(auth): State<Arc<Auth>>, request: Request, next: Next) -> Response {
    match auth.check_token(request.headers()) {
        Ok(()) => next.run(request).await,
        Err(error) => HttpError(error).into_response(),
    }
}

/// Reads the body, so that every handler sees one that is whole and within the limit.
pub(super) async fn read_body(request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    match tokio::time::timeout(BODY_TIMEOUT, collect(body)).await {
        Ok(Ok(bytes)) => next.run(Request::from_parts(parts, Body::from(bytes))).await,
        Ok(Err(error)) => error.into_response(),
        Err(_) => timed_out(BODY_TIMEOUT, "the body was not sent within").into_response(),
    }
}

async fn collect(body: Body) -> Result<Bytes, HttpError> {
    let mut stream = body.into_data_stream();
    let mut bytes = BytesMut::new();
    let mut seen = 0;
    while let Some(chunk) = stream.next().await {
        let chunk = chunk.map_err(|_| HttpError(ApiError::validation("body", "the body was not sent to its end")))?;
        seen += chunk.len();
        if seen <= MAX_BODY_BYTES {
            bytes.extend_from_slice(&chunk);
        } else if seen > DRAIN_BYTES {
            break;
        }
    }
    if seen > MAX_BODY_BYTES { Err(too_large()) } else { Ok(bytes.freeze()) }
}

/// The body is over the limit.
pub(super) fn too_large() -> HttpError {
    let message = format!("the body is larger than {MAX_BODY_BYTES} bytes (1 MiB)");
    HttpError(ApiError { field: Some("body".to_owned()), ..ApiError::new(ErrorType::PayloadTooLarge, message) })
}

/// Gives the handler `limit` to begin its answer; a stream that has begun may go on.
pub(super) async fn limit_time(State(limit): State<Duration>, request: Request, next: Next) -> Response {
    match tokio::time::timeout(limit, next.run(request)).await {
        Ok(answer) => answer,
        Err(_) => timed_out(limit, "the request was not answered within").into_response(),
    }
}

fn timed_out(limit: Duration, what: &str) -> HttpError {
    HttpError(ApiError::new(ErrorType::Timeout, format!("{what} {} s", limit.as_secs_f64())))
}

/// No such route.
pub(super) async fn no_route(request: Request) -> Response {
    let message = format!("there is no {}", cut(request.uri().path()));
    HttpError(ApiError::not_found(message)).into_response()
}

/// The route exists, but not with this method.
pub(super) async fn no_method(request: Request) -> Response {
    let message = format!("{} is not possible at {}", cut(request.method().as_str()), cut(request.uri().path()));
    HttpError(ApiError::validation("method", message)).with_status(StatusCode::METHOD_NOT_ALLOWED)
}

/// What a caller wrote, short enough to say back.
fn cut(text: &str) -> String {
    text.chars().take(200).collect()
}
