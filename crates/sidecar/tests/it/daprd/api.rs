//! The HTTP API of one sidecar.

use std::sync::Arc;

use axum::{
    Json, Router,
    body::Bytes,
    extract::{Path, Request, State},
    http::{HeaderMap, StatusCode, Uri, header::CONTENT_TYPE},
    middleware::{Next, from_fn},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{API_TOKEN, APP_TOKEN, Shared, TOKEN_HEADER, store::SetError};

#[derive(Clone)]
struct Api {
    shared: Arc<Shared>,
    app_id: String,
}

pub(super) fn router(shared: Arc<Shared>, app_id: &str) -> Router {
    Router::new()
        .route("/v1.0/publish/{pubsub}/{topic}", post(publish))
        .route("/v1.0/publish/bulk/{pubsub}/{topic}", post(publish_bulk))
        .route("/v1.0/state/{store}", post(set_state))
        .route("/v1.0/state/{store}/bulk", post(get_state_bulk))
        .route("/v1.0/state/{store}/{key}", get(get_state).delete(delete_state))
        .route("/v1.0/invoke/{app}/method/{*path}", post(invoke))
        .layer(from_fn(check_token))
        .route("/v1.0/healthz/outbound", get(async || StatusCode::NO_CONTENT))
        .route("/v1.0/healthz", get(healthz))
        .with_state(Api { shared, app_id: app_id.to_owned() })
}

fn error(status: u16, code: &str, message: &str) -> Response {
    let body = Json(json!({"errorCode": code, "message": message}));
    (StatusCode::from_u16(status).unwrap(), body).into_response()
}

async fn check_token(request: Request, next: Next) -> Response {
    match request.headers().get(TOKEN_HEADER) {
        Some(token) if token == API_TOKEN => next.run(request).await,
        _ => (StatusCode::UNAUTHORIZED, "invalid api token\n").into_response(),
    }
}

async fn healthz(State(api): State<Api>) -> Response {
    if api.shared.apps.lock().unwrap().contains_key(&api.app_id) {
        StatusCode::NO_CONTENT.into_response()
    } else {
        error(500, "ERR_HEALTH_NOT_READY", "dapr is not ready: [app]")
    }
}

impl Api {
    /// An envelope of the app's is kept, anything else is wrapped.
    fn envelope(&self, topic: &str, kind: &str, data: Value) -> Value {
        if !kind.starts_with("application/cloudevents+json") {
            return json!({
                "id": Uuid::new_v4(), "source": self.app_id, "type": "com.dapr.event.sent", "specversion": "1.0",
                "datacontenttype": kind, "data": data, "topic": topic, "pubsubname": "agent-pubsub",
                "traceid": "", "traceparent": "", "tracestate": "", "time": "2026-11-23T04:43:04Z",
            });
        }
        let mut event = data;
        for (field, default) in [("traceid", ""), ("tracestate", ""), ("time", "2026-11-23T04:43:04Z")] {
            if event[field].is_null() {
                event[field] = json!(default);
            }
        }
        event["topic"] = json!(topic);
        event["pubsubname"] = json!("agent-pubsub");
        event
    }

    fn publish(&self, topic: &str, kind: &str, data: Value) {
        self.shared.broker.publish(topic, &self.envelope(topic, kind, data).to_string());
    }
}

fn no_pubsub(name: &str) -> Option<Response> {
    let message = format!("pubsub {name} is not found");
    (name != "agent-pubsub").then(|| error(404, "ERR_PUBSUB_NOT_FOUND", &message))
}

async fn publish(
    State(api): State<Api>,
    Path((pubsub, topic)): Path<(String, String)>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let kind = headers[CONTENT_TYPE].to_str().unwrap();
    api.publish(&topic, kind, serde_json::from_slice(&body).unwrap());
    no_pubsub(&pubsub).unwrap_or_else(|| StatusCode::NO_CONTENT.into_response())
}

async fn publish_bulk(
    State(api): State<Api>,
    Path((pubsub, topic)): Path<(String, String)>,
    Json(entries): Json<Vec<Value>>,
) -> Response {
    assert!(entries.len() <= 100);
    for entry in entries {
        assert!(!entry["entryId"].as_str().unwrap().is_empty());
        api.publish(&topic, entry["contentType"].as_str().unwrap(), entry["event"].clone());
    }
    no_pubsub(&pubsub).unwrap_or_else(|| StatusCode::NO_CONTENT.into_response())
}

fn no_store(name: &str) -> Option<Response> {
    let message = format!("state store {name} is not found");
    (name != "agent-statestore").then(|| error(400, "ERR_STATE_STORE_NOT_FOUND", &message))
}

async fn set_state(State(api): State<Api>, Path(store): Path<String>, Json(rows): Json<Vec<Value>>) -> Response {
    if let Some(error) = no_store(&store) {
        return error;
    }
    for row in rows {
        let failed = |status, why| error(status, "ERR_STATE_SAVE", &format!("failed saving state: {why}"));
        match api.shared.store.set(&row) {
            Ok(()) => {}
            Err(SetError::Mismatch) => return failed(409, "possible etag mismatch. error from state store"),
            Err(SetError::Invalid) => return failed(400, "invalid etag value"),
            Err(SetError::Failed) => return failed(500, "failed to set key"),
        }
    }
    StatusCode::NO_CONTENT.into_response()
}

async fn get_state(State(api): State<Api>, Path((store, key)): Path<(String, String)>) -> Response {
    no_store(&store).unwrap_or_else(|| match api.shared.store.get(&key) {
        Some((value, etag)) => ([("etag", etag)], Json(value)).into_response(),
        None => StatusCode::NO_CONTENT.into_response(),
    })
}

async fn get_state_bulk(State(api): State<Api>, Path(store): Path<String>, Json(body): Json<Value>) -> Response {
    let row = |key: &Value| match api.shared.store.get(key.as_str().unwrap()) {
        Some((data, etag)) => json!({"key": key, "data": data, "etag": etag}),
        None => json!({"key": key}),
    };
    // In no order that a caller could count on.
    let rows: Vec<Value> = body["keys"].as_array().unwrap().iter().rev().map(row).collect();
    no_store(&store).unwrap_or_else(|| Json(rows).into_response())
}

async fn delete_state(State(api): State<Api>, Path((store, key)): Path<(String, String)>) -> Response {
    api.shared.store.delete(&key);
    no_store(&store).unwrap_or_else(|| StatusCode::NO_CONTENT.into_response())
}

async fn invoke(
    State(api): State<Api>,
    Path((app, path)): Path<(String, String)>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let Some(url) = api.shared.apps.lock().unwrap().get(&app).map(|app| app.url.clone()) else {
        let message = format!("failed to invoke, id: {app}, err: couldn't find service: {app}");
        return error(500, "ERR_DIRECT_INVOKE", &message);
    };
    let query = uri.query().map(|query| format!("?{query}")).unwrap_or_default();
    let mut request = api.shared.client.post(format!("{url}/{path}{query}")).header(TOKEN_HEADER, APP_TOKEN);
    for name in ["content-type", "traceparent"] {
        if let Some(value) = headers.get(name) {
            request = request.header(name, value);
        }
    }
    let answer = request.body(body).send().await.unwrap();
    (answer.status(), answer.bytes().await.unwrap()).into_response()
}
