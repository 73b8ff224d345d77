//! Sends spans to an OTLP receiver over HTTP with protobuf.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use mesh_six_core::id::new_id;
use opentelemetry::{
    KeyValue,
    trace::{SpanId, TraceId as OtelTraceId},
};
use opentelemetry_http::{HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::{
    Resource,
    resource::{EnvResourceDetector, ResourceDetector, TelemetryResourceDetector},
    trace::{IdGenerator, RandomIdGenerator, SdkTracerProvider},
};

use super::TelemetryError;

/// How long the last spans may take at the end.
pub(super) const FLUSH_TIMEOUT: Duration = Duration::from_secs(3);

/// A provider that sends batches to `endpoint` in the background.
pub(super) fn provider(service: &str, endpoint: &str) -> Result<SdkTracerProvider, TelemetryError> {
    let exporter = SpanExporter::builder()
        .with_http()
        .with_http_client(RuntimeClient::new()?)
        .with_protocol(Protocol::HttpBinary)
        .with_endpoint(format!("{}/v1/traces", endpoint.trim_end_matches('/')))
        .with_timeout(FLUSH_TIMEOUT)
        .build()?;
    Ok(SdkTracerProvider::builder()
        .with_resource(resource(service))
        .with_id_generator(OurIds(RandomIdGenerator::default()))
        .with_batch_exporter(exporter)
        .build())
}

/// Who sends the spans. `OTEL_RESOURCE_ATTRIBUTES` may add to that and say it better.
fn resource(service: &str) -> Resource {
    let ours = [
        KeyValue::new("service.name", service.to_owned()),
        KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
        // Of this process alone.
        KeyValue::new("service.instance.id", new_id().to_string()),
    ];
    // What comes later wins.
    let others: [Box<dyn ResourceDetector>; 2] =
        [Box::new(TelemetryResourceDetector), Box::new(EnvResourceDetector::new())];
    Resource::builder_empty().with_attributes(ours).with_detectors(&others).build()
}

/// Sends what is left; waits at most [`FLUSH_TIMEOUT`].
pub(super) async fn shutdown(provider: SdkTracerProvider) {
    // The provider blocks its thread while the runtime sends.
    let done = tokio::task::spawn_blocking(move || provider.shutdown_with_timeout(FLUSH_TIMEOUT));
    if !matches!(tokio::time::timeout(FLUSH_TIMEOUT * 2, done).await, Ok(Ok(Ok(())))) {
        tracing::warn!("the last spans could not be sent in time");
    }
}

/// Sends requests on the runtime on which it was made: the exporter runs on a thread of its own, without one.
#[derive(Debug)]
struct RuntimeClient {
    client: reqwest::Client,
    runtime: tokio::runtime::Handle,
    failing: AtomicBool,
}

impl RuntimeClient {
    fn new() -> Result<Self, TelemetryError> {
        // Fails only if a provider is installed already, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder()
            .connect_timeout(FLUSH_TIMEOUT)
            .timeout(FLUSH_TIMEOUT)
            .redirect(reqwest::redirect::Policy::none())
            .build()?;
        let runtime = tokio::runtime::Handle::try_current()?;
        Ok(Self { client, runtime, failing: AtomicBool::new(false) })
    }
}

#[async_trait]
impl HttpClient for RuntimeClient {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let client = self.client.clone();
        let sent = self.runtime.spawn(async move { client.send_bytes(request).await }).await;
        let answer = sent.map_err(HttpError::from).and_then(|answer| answer);
        let bad = answer.as_ref().map_or(true, |a| !a.status().is_success());
        // Said once, when it begins; the exporter itself is silent.
        if bad && !self.failing.swap(bad, Ordering::Relaxed) {
            tracing::warn!("traces cannot be sent to the OTLP receiver; spans are dropped until it answers");
        } else if !bad && self.failing.swap(bad, Ordering::Relaxed) {
            tracing::info!("the OTLP receiver takes traces again");
        }
        answer
    }
}

/// Trace ids of ours, which begin with the time, so that a span without a parent fits the event log's ids.
#[derive(Debug)]
struct OurIds(RandomIdGenerator);

impl IdGenerator for OurIds {
    fn new_trace_id(&self) -> OtelTraceId {
        OtelTraceId::from_bytes(*mesh_six_core::TraceId::new().as_uuid().as_bytes())
    }

    fn new_span_id(&self) -> SpanId {
        self.0.new_span_id()
    }
}
