//! Traces on their way to an OTLP receiver.

use std::time::Duration;

use axum::{Router, routing::get as on_get};
use mesh_six_core::span::current_traceparent;
use mesh_six_runtime::{
    Auth, HealthState, RequestTrace, ServiceInfo, shell,
    telemetry::{self, LogFormat, TelemetryConfig},
};
use mesh_six_testing::OtlpReceiver;

use crate::ask::ask;

/// The only test that may start telemetry: a process has one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn m1_12_a_request_becomes_a_span_of_the_callers_trace_at_the_otlp_receiver() {
    let receiver = OtlpReceiver::start().await;
    let config = TelemetryConfig { filter: "off".to_owned(), otlp_endpoint: Some(format!("{}/", receiver.url())) };
    let hook = std::panic::take_hook();
    let guard = telemetry::init("simple-agent", LogFormat::Json, &config).unwrap();
    // Or the other tests of this process would fail without a word.
    std::panic::set_hook(hook);

    let tells = Router::new().route(
        "/trace",
        on_get(async |trace: RequestTrace| format!("{} {}", trace.traceparent, current_traceparent().unwrap())),
    );
    let router = shell(ServiceInfo::new("simple-agent"), tells, HealthState::new(), Auth::internal());
    let caller = "4bf92f3577b34da6a3ce929d0e0e4736";
    let theirs = format!("00-{caller}-00f067aa0ba902b7-01");
    let answer = ask(&router, "GET /trace", &[("traceparent", &theirs)], "").await.text;
    let (ours, current) = answer.split_once(' ').unwrap();
    assert!(ours.starts_with(&format!("00-{caller}-")) && ours.ends_with("-01"), "{ours}");
    assert_ne!(ours, theirs, "what follows is a child of the request's own span");
    assert_eq!(ours, current);
    let unsampled = format!("00-{}-00f067aa0ba902b7-00", caller.replace('4', "5"));
    let answer = ask(&router, "GET /trace", &[("traceparent", &unsampled)], "").await.text;
    assert!(answer.starts_with(&unsampled[..36]) && answer.ends_with("-00"), "the caller does not sample: {answer}");

    tokio::time::timeout(Duration::from_secs(20), guard.finish()).await.unwrap();
    let trace = receiver.trace(caller);
    let span = trace.only("GET /trace");
    assert_eq!((span.parent_id.as_str(), span.kind.as_str()), ("00f067aa0ba902b7", "server"));
    assert!(ours.contains(&span.span_id));
    assert_eq!(span.attribute("http.response.status_code"), "200");
    assert_eq!(span.service(), "simple-agent");
    assert_eq!(span.resource["service.version"], env!("CARGO_PKG_VERSION"));
    assert!(!span.resource["service.instance.id"].is_empty());
    assert_eq!(receiver.trace(&unsampled[3..35]).spans, []);
}
