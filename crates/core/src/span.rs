//! Between W3C `traceparent` headers and spans: a task goes through rows and messages, and so does its trace.

use opentelemetry::{
    Context,
    trace::{SpanContext, SpanId, TraceContextExt, TraceFlags, TraceId as OtelTraceId, TraceState},
};
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;

use crate::TraceId;

/// Makes `span` a child of the span that `traceparent` names, if that is valid. To be called before `span` is entered.
pub fn set_parent(span: &Span, traceparent: &str) {
    if let Some(parent) = parse(traceparent) {
        // Fails if no traces are collected, or the span has begun; it then has no parent, which harms nobody.
        let _ = span.set_parent(Context::new().with_remote_span_context(parent));
    }
}

/// The `traceparent` header that names `span`; `None` where no traces are collected.
pub fn traceparent_of(span: &Span) -> Option<String> {
    let context = span.context();
    let otel = context.span();
    let of = otel.span_context();
    let flags = of.trace_flags().to_u8();
    of.is_valid().then(|| format!("00-{}-{}-{flags:02x}", of.trace_id(), of.span_id()))
}

/// The header that names the current span; `None` where no traces are collected.
pub fn current_traceparent() -> Option<String> {
    traceparent_of(&Span::current())
}

fn parse(header: &str) -> Option<SpanContext> {
    let trace = TraceId::from_traceparent(header)?;
    let mut rest = header.split('-').skip(2);
    let span = SpanId::from_hex(rest.next()?).ok()?;
    let flags = u8::from_str_radix(rest.next()?, 16).ok()?;
    let trace = OtelTraceId::from_bytes(*trace.as_uuid().as_bytes());
    // Only the lowest bit, sampled, is known to this version.
    let flags = TraceFlags::new(flags) & TraceFlags::SAMPLED;
    Some(SpanContext::new(trace, span, flags, true, TraceState::NONE))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test that cannot go on should fail there")]
mod tests {
    use super::*;

    #[test]
    fn a_traceparent_is_read_whole_or_not_at_all() {
        let parent = parse("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01").unwrap();
        assert_eq!(parent.trace_id().to_string(), "4bf92f3577b34da6a3ce929d0e0e4736");
        assert_eq!(parent.span_id().to_string(), "00f067aa0ba902b7");
        assert!(parent.is_sampled() && parent.is_remote());
        assert!(parse("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7").is_none());
    }
}
