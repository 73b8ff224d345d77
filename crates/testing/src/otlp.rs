//! A receiver of traces: OTLP over HTTP with protobuf, as services and sidecars send them.

use std::{
    collections::BTreeMap,
    fmt,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::{Router, body::Bytes, extract::State, http::StatusCode, routing::post};
use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest,
    common::v1::{AnyValue, KeyValue, any_value},
    trace::v1::span::SpanKind,
};
use prost::Message;
use tokio::{net::TcpListener, task::JoinHandle};

use crate::wait::wait_for;

/// A span as it was received.
#[derive(Clone, Debug, PartialEq)]
pub struct ReceivedSpan {
    /// 32 hex digits.
    pub trace_id: String,
    /// 16 hex digits.
    pub span_id: String,
    /// 16 hex digits; empty for a root.
    pub parent_id: String,
    /// Its name.
    pub name: String,
    /// `server`, `client`, `producer`, `consumer` or `internal`.
    pub kind: String,
    /// Whether its status is an error.
    pub failed: bool,
    /// Its attributes as text.
    pub attributes: BTreeMap<String, String>,
    /// The attributes of who sent it, as text.
    pub resource: BTreeMap<String, String>,
    /// When it began, in nanoseconds since 1970.
    pub start: u64,
    /// When it ended.
    pub end: u64,
}

impl ReceivedSpan {
    /// Who sent it: `service.name`.
    pub fn service(&self) -> &str {
        self.resource.get("service.name").map_or("", String::as_str)
    }

    /// An attribute; empty where it has none.
    pub fn attribute(&self, name: &str) -> &str {
        self.attributes.get(name).map_or("", String::as_str)
    }
}

type Spans = Arc<Mutex<Vec<ReceivedSpan>>>;

/// The receiver, on a free port. It ends when it is dropped.
pub struct OtlpReceiver {
    url: String,
    spans: Spans,
    server: JoinHandle<()>,
}

impl OtlpReceiver {
    /// On 127.0.0.1.
    pub async fn start() -> Self {
        Self::on(IpAddr::from([127, 0, 0, 1])).await
    }

    /// On another address of this machine.
    pub async fn on(address: IpAddr) -> Self {
        let spans = Spans::default();
        let routes = Router::new().route("/v1/traces", post(receive)).with_state(Arc::clone(&spans));
        let listener = TcpListener::bind((address, 0)).await;
        let bound = listener.and_then(|listener| listener.local_addr().map(|address| (listener, address)));
        let (listener, address) = bound.unwrap_or_else(|error| panic!("no port for the OTLP receiver: {error}"));
        let server = tokio::spawn(async move {
            if let Err(error) = axum::serve(listener, routes).await {
                eprintln!("the OTLP receiver ended: {error}");
            }
        });
        Self { url: format!("http://{address}"), spans, server }
    }

    /// What `OTEL_EXPORTER_OTLP_ENDPOINT` names.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Host and port, as Dapr's configuration names it.
    pub fn address(&self) -> &str {
        self.url.trim_start_matches("http://")
    }

    /// All spans so far.
    pub fn spans(&self) -> Vec<ReceivedSpan> {
        self.spans.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The trace `trace_id`, as far as it has been received.
    pub fn trace(&self, trace_id: &str) -> Trace {
        Trace { spans: self.spans().into_iter().filter(|span| span.trace_id == trace_id).collect() }
    }

    /// The trace `trace_id`, once `whole` holds for it.
    pub async fn wait_for_trace(&self, trace_id: &str, within: Duration, whole: impl Fn(&Trace) -> bool) -> Trace {
        let looked = tokio::time::timeout(within, async {
            wait_for(within * 2, async || Some(self.trace(trace_id)).filter(&whole)).await
        });
        looked.await.unwrap_or_else(|_| panic!("not whole within {within:?}:\n{}", self.trace(trace_id)))
    }
}

impl Drop for OtlpReceiver {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn receive(State(spans): State<Spans>, body: Bytes) -> StatusCode {
    let Ok(request) = ExportTraceServiceRequest::decode(body) else { return StatusCode::BAD_REQUEST };
    let received = request.resource_spans.into_iter().flat_map(|group| {
        let resource = texts(group.resource.map(|resource| resource.attributes).unwrap_or_default());
        let spans = group.scope_spans.into_iter().flat_map(|scope| scope.spans);
        spans.map(move |span| ReceivedSpan {
            trace_id: hex(&span.trace_id),
            span_id: hex(&span.span_id),
            parent_id: hex(&span.parent_span_id),
            kind: kind(span.kind()).to_owned(),
            failed: span.status.is_some_and(|status| status.code == 2),
            name: span.name,
            attributes: texts(span.attributes),
            resource: resource.clone(),
            start: span.start_time_unix_nano,
            end: span.end_time_unix_nano,
        })
    });
    spans.lock().unwrap_or_else(PoisonError::into_inner).extend(received);
    StatusCode::OK
}

fn hex(bytes: &[u8]) -> String {
    mesh_six_core::hash::hex(bytes)
}

fn kind(kind: SpanKind) -> &'static str {
    match kind {
        SpanKind::Server => "server",
        SpanKind::Client => "client",
        SpanKind::Producer => "producer",
        SpanKind::Consumer => "consumer",
        SpanKind::Internal | SpanKind::Unspecified => "internal",
    }
}

fn texts(attributes: Vec<KeyValue>) -> BTreeMap<String, String> {
    let text = |value: Option<AnyValue>| match value.and_then(|value| value.value) {
        Some(any_value::Value::StringValue(text)) => text,
        Some(any_value::Value::IntValue(number)) => number.to_string(),
        Some(any_value::Value::DoubleValue(number)) => number.to_string(),
        Some(any_value::Value::BoolValue(yes)) => yes.to_string(),
        other => format!("{other:?}"),
    };
    attributes.into_iter().map(|attribute| (attribute.key, text(attribute.value))).collect()
}

/// The spans of one trace.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Trace {
    /// In the order in which they were received.
    pub spans: Vec<ReceivedSpan>,
}

impl Trace {
    /// The spans of this name.
    pub fn named(&self, name: &str) -> Vec<&ReceivedSpan> {
        self.spans.iter().filter(|span| span.name == name).collect()
    }

    /// The only span of this name.
    #[track_caller]
    pub fn only(&self, name: &str) -> &ReceivedSpan {
        match self.named(name).as_slice() {
            [span] => span,
            others => panic!("{} spans are named {name} in\n{self}", others.len()),
        }
    }

    /// The span whose child `span` is, if it was received.
    pub fn parent(&self, span: &ReceivedSpan) -> Option<&ReceivedSpan> {
        self.spans.iter().find(|other| other.span_id == span.parent_id)
    }

    /// `span` and all spans above it, up to the first whose parent was not received.
    pub fn line<'t>(&'t self, span: &'t ReceivedSpan) -> Vec<&'t ReceivedSpan> {
        std::iter::successors(Some(span), |span| self.parent(span)).take(self.spans.len()).collect()
    }

    /// Spans whose parent was not received: one, in a trace that is whole.
    pub fn roots(&self) -> Vec<&ReceivedSpan> {
        self.spans.iter().filter(|span| self.parent(span).is_none()).collect()
    }
}

/// As a tree, for the messages of failed tests.
impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fn below(trace: &Trace, span: &ReceivedSpan, depth: usize, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            let indent = "  ".repeat(depth);
            writeln!(f, "{indent}{} [{} {}] {}", span.name, span.service(), span.kind, span.span_id)?;
            let mut children: Vec<_> = trace.spans.iter().filter(|child| child.parent_id == span.span_id).collect();
            children.sort_by_key(|child| child.start);
            children.into_iter().try_for_each(|child| below(trace, child, depth + 1, f))
        }
        for root in self.roots() {
            writeln!(f, "under {:?}:", root.parent_id)?;
            below(self, root, 1, f)?;
        }
        Ok(())
    }
}
