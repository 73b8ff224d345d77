//! Asks a router without a network.

use axum::{
    Router,
    body::{Body, to_bytes},
    http::{HeaderMap, Request, StatusCode},
};
use serde_json::{Value, json};
use tower::ServiceExt;
use uuid::Uuid;

/// An answer, read to its end.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    /// The field that an error names.
    pub(crate) fn field(&self) -> String {
        self.json()["error"]["field"].as_str().unwrap_or_else(|| panic!("no field: {}", self.text)).to_owned()
    }
}

pub(crate) async fn send(router: &Router, request: Request<Body>) -> Answer {
    let (parts, body) = router.clone().oneshot(request).await.unwrap().into_parts();
    let bytes = to_bytes(body, usize::MAX).await.unwrap();
    Answer { status: parts.status, headers: parts.headers, text: String::from_utf8(bytes.to_vec()).unwrap() }
}

pub(crate) async fn get(router: &Router, path: &str) -> Answer {
    send(router, Request::get(path).body(Body::empty()).unwrap()).await
}

/// Posts what a sidecar posts, with its token.
pub(crate) async fn post(router: &Router, route: &str, token: &str, body: impl Into<Body>) -> Answer {
    send(router, Request::post(route).header("dapr-api-token", token).body(body.into()).unwrap()).await
}

/// The body of a bulk delivery.
pub(crate) fn bulk(events: &[Value]) -> String {
    let entries: Vec<Value> = events.iter().map(|e| json!({"entryId": Uuid::new_v4(), "event": e})).collect();
    json!({"id": Uuid::new_v4(), "type": "com.dapr.event.sent.bulk", "entries": entries}).to_string()
}

/// The same of events that are JSON text, however odd.
pub(crate) fn bulk_of_texts(events: &[&str]) -> String {
    let entries: Vec<String> =
        events.iter().map(|event| format!(r#"{{"entryId":"{}","event":{event}}}"#, Uuid::new_v4())).collect();
    format!(r#"{{"id":"{}","type":"com.dapr.event.sent.bulk","entries":[{}]}}"#, Uuid::new_v4(), entries.join(","))
}

/// The statuses of a bulk answer, in order; `BURIED` where a message was refused and kept.
pub(crate) fn statuses(answer: &Answer) -> Vec<String> {
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
    let answer = answer.json();
    let status = |entry: &Value| match (&entry["buried"], entry["status"].as_str().unwrap()) {
        (Value::Bool(true), "SUCCESS") => "BURIED".to_owned(),
        (_, status) => status.to_owned(),
    };
    answer["statuses"].as_array().unwrap().iter().map(status).collect()
}
