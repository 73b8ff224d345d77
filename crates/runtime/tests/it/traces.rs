use std::time::Duration;

use axum::{Router, routing::get as on_get};
use mesh_six_runtime::{
    Auth, HealthState, RequestTrace, ServiceInfo, shell,
    telemetry::{self, LogFormat, TelemetryConfig},
};
use wiremock::{
    Mock, MockServer, ResponseTemplate,
    matchers::{header, method, path},
};

use crate::ask::ask;

/// The only test that may start telemetry: a process has one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn m1_12_a_request_becomes_a_span_of_the_callers_trace_at_the_otlp_receiver() {
    let receiver = MockServer::start().await;
    Mock::given(method("POST"))
        .and(path("/v1/traces"))
        .and(header("content-type", "application/x-protobuf"))
        .respond_with(ResponseTemplate::new(200))
        .mount(&receiver)
        .await;
    let config = TelemetryConfig { filter: "off".to_owned(), otlp_endpoint: Some(receiver.uri() + "/") };
    let hook = std::panic::take_hook();
    let guard = telemetry::init("simple-agent", LogFormat::Json, &config).unwrap();
    // Or the other tests of this process would fail without a word.
    std::panic::set_hook(hook);

    let tells = Router::new().route(
        "/trace",
        on_get(async |trace: RequestTrace| {
            format!("{} {}", trace.traceparent, telemetry::current_traceparent().unwrap())
        }),
    );
    let router = shell(ServiceInfo::new("simple-agent"), tells, HealthState::new(), Auth::internal());
    let theirs = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let answer = ask(&router, "GET /trace", &[("traceparent", theirs)], "").await.text;
    let (ours, current) = answer.split_once(' ').unwrap();
    assert!(ours.starts_with("00-4bf92f3577b34da6a3ce929d0e0e4736-") && ours.ends_with("-01"), "{ours}");
    assert_ne!(ours, theirs, "what follows is a child of the request's own span");
    assert_eq!(ours, current);

    tokio::time::timeout(Duration::from_secs(20), guard.finish()).await.unwrap();
    let requests = receiver.received_requests().await.unwrap();
    let sent: Vec<u8> = requests.into_iter().flat_map(|r| r.body).collect();
    let holds = |part: &[u8]| sent.windows(part.len()).any(|w| w == part);
    assert!(holds(b"GET /trace") && holds(b"simple-agent"));
    assert!(holds(&0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736_u128.to_be_bytes()), "the caller's trace id");
    assert!(holds(&0x00f0_67aa_0ba9_02b7_u64.to_be_bytes()), "the caller's span as parent");
}
