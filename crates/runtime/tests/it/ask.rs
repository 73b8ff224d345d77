//! Asks a router without a network, and shows answers in a form for snapshots.

use axum::{
    Router,
    body::{Body, to_bytes},
    http::{HeaderMap, Request, Response, StatusCode},
};
use serde_json::Value;
use tower::ServiceExt;

/// An answer: status, headers, body.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap()
    }

    /// Status, the headers that matter, body.
    pub(crate) fn show(&self) -> String {
        let mut lines = vec![self.status.to_string()];
        for name in ["retry-after", "www-authenticate", "allow", "content-type"] {
            if let Some(value) = self.headers.get(name) {
                lines.push(format!("{name}: {}", value.to_str().unwrap()));
            }
        }
        lines.push(match serde_json::from_str::<Value>(&self.text) {
            Ok(json) => format!("{json:#}"),
            Err(_) => self.text.clone(),
        });
        lines.join("\n")
    }
}

pub(crate) async fn send(router: &Router, request: Request<Body>) -> Answer {
    let answer: Response<Body> = router.clone().oneshot(request).await.unwrap();
    let (parts, body) = answer.into_parts();
    let bytes = to_bytes(body, usize::MAX).await.unwrap();
    Answer { status: parts.status, headers: parts.headers, text: String::from_utf8(bytes.to_vec()).unwrap() }
}

/// `"POST /path"` with headers and a body.
pub(crate) async fn ask(router: &Router, line: &str, headers: &[(&str, &str)], body: impl Into<Body>) -> Answer {
    let (method, path) = line.split_once(' ').unwrap();
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    send(router, request.body(body.into()).unwrap()).await
}

pub(crate) async fn get(router: &Router, path: &str) -> Answer {
    ask(router, &format!("GET {path}"), &[], Body::empty()).await
}
