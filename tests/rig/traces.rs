//! A store of traces, by Tempo's API, over what the receiver got.

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::{Path, State},
    http::StatusCode,
    routing::get,
};
use mesh_six_testing::OtlpReceiver;
use serde_json::{Value, json};
use tokio::{net::TcpListener, task::JoinHandle};

/// A running store.
pub(crate) struct Traces {
    /// Takes the spans.
    pub(crate) receiver: Arc<OtlpReceiver>,
    /// Gives the traces.
    pub(crate) url: String,
    server: JoinHandle<()>,
}

impl Drop for Traces {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Traces {
    pub(crate) async fn start() -> Self {
        let receiver = Arc::new(OtlpReceiver::start().await);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new().route("/api/traces/{id}", get(trace)).with_state(Arc::clone(&receiver));
        let server = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { receiver, url, server }
    }
}

async fn trace(State(receiver): State<Arc<OtlpReceiver>>, Path(id): Path<String>) -> (StatusCode, Json<Value>) {
    let spans = receiver.spans().into_iter().filter(|span| span.trace_id == id);
    let batches: Vec<Value> = spans
        .map(|span| {
            json!({
                "resource": { "attributes": [{ "key": "service.name", "value": { "stringValue": span.service() } }] },
                "scopeSpans": [{ "scope": {}, "spans": [{ "traceId": span.trace_id, "spanId": span.span_id,
                    "parentSpanId": span.parent_id, "name": span.name }] }],
            })
        })
        .collect();
    let found = if batches.is_empty() { StatusCode::NOT_FOUND } else { StatusCode::OK };
    (found, Json(json!({ "batches": batches })))
}
