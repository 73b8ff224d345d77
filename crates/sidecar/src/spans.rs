//! Spans of messages on their way, by OpenTelemetry's conventions for messaging. The trace travels in the message:
//! publishing is a child of what the message was made for, and handling it a child of publishing it.

use mesh_six_core::{
    TraceId,
    span::{current_traceparent, set_parent, traceparent_of},
};
use tracing::{Span, field, info_span};

use crate::{
    bulk::Status,
    delivery::Delivery,
    port::{Message, SidecarError},
};

/// The span of publishing `message`, which names it from now on. A message without a trace has none.
pub(crate) fn publish(system: &'static str, message: &mut Message) -> Span {
    let Some(parent) = &message.traceparent else { return Span::none() };
    let span = info_span!(
        "publish",
        otel.name = format!("publish {}", message.topic),
        otel.kind = "producer",
        otel.status_code = field::Empty,
        messaging.system = system,
        messaging.operation.name = "publish",
        messaging.operation.r#type = "send",
        messaging.destination.name = message.topic,
        messaging.message.id = message.id,
        error.type = field::Empty,
    );
    set_parent(&span, parent);
    if let Some(traceparent) = traceparent_of(&span) {
        message.traceparent = Some(traceparent);
    }
    span
}

/// What became of publishing.
pub(crate) fn published(span: &Span, outcome: &Result<(), SidecarError>) {
    match outcome {
        Ok(()) => {}
        Err(SidecarError::Unavailable(_)) => failed(span, "unavailable"),
        Err(_) => failed(span, "refused"),
    }
}

/// The span of handling `delivery`, which names it from now on: a child of the request that brought it, where that is
/// in the message's trace. A batch may hold messages of several.
pub(crate) fn process(delivery: &mut Delivery) -> Span {
    let Some(parent) = &delivery.traceparent else { return Span::none() };
    let span = info_span!(
        "process",
        otel.name = format!("process {}", delivery.topic),
        otel.kind = "consumer",
        otel.status_code = field::Empty,
        messaging.operation.name = "process",
        messaging.operation.r#type = "process",
        messaging.destination.name = delivery.topic,
        messaging.message.id = delivery.event.id,
        error.type = field::Empty,
    );
    let around = current_traceparent().as_deref().and_then(TraceId::from_traceparent);
    if around != delivery.trace_id() {
        set_parent(&span, parent);
    }
    if let Some(traceparent) = traceparent_of(&span) {
        delivery.traceparent = Some(traceparent);
    }
    span
}

/// What a delivery was answered.
pub(crate) fn processed(span: &Span, status: Status) {
    if status != Status::Success {
        failed(span, status.as_str());
    }
}

fn failed(span: &Span, kind: &'static str) {
    span.record("error.type", kind);
    span.record("otel.status_code", "ERROR");
}
