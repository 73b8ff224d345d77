//! The trace that a request belongs to.

use std::convert::Infallible;

use axum::{
    extract::FromRequestParts,
    http::{HeaderMap, request::Parts},
};
use mesh_six_core::{
    TraceId,
    span::{set_parent, traceparent_of},
};
use tracing::Span;

/// The trace of this request: the caller's, from its `traceparent` header, or a new one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestTrace {
    /// The W3C trace id.
    pub trace_id: TraceId,
    /// A `traceparent` for whatever the request causes.
    pub traceparent: String,
}

impl RequestTrace {
    /// Ties `span` to the caller's trace, if there is one, and tells which trace that is.
    pub(super) fn begin(span: &Span, headers: &HeaderMap) -> Self {
        let given = headers.get("traceparent").and_then(|v| v.to_str().ok());
        let given = given.filter(|h| TraceId::from_traceparent(h).is_some());
        if let Some(header) = given {
            set_parent(span, header);
        }
        // With traces collected, the span itself is the parent of what follows, and knows its trace.
        let traceparent = traceparent_of(span).or_else(|| given.map(str::to_owned));
        match traceparent.as_deref().and_then(TraceId::from_traceparent).zip(traceparent) {
            Some((trace_id, traceparent)) => Self { trace_id, traceparent },
            None => Self::new(TraceId::new()),
        }
    }

    fn new(trace_id: TraceId) -> Self {
        Self { trace_id, traceparent: trace_id.to_traceparent() }
    }
}

impl<S: Sync> FromRequestParts<S> for RequestTrace {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(parts.extensions.get::<Self>().cloned().unwrap_or_else(|| Self::new(TraceId::new())))
    }
}
