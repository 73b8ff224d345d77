//! Calls from service to service.

use std::time::Duration;

use axum::{Json, Router, body::Bytes, http::StatusCode, routing::post};
use http::HeaderMap;
use mesh_six_sidecar::{APP_TOKEN_HEADER, SidecarError};
use serde_json::{Value, json};

use super::{Fixture, trace};
use crate::support::{TRACEPARENT, topic};

pub(crate) async fn invocation<F: Fixture>(fixture: &F) {
    let app = format!("app-{}", topic());
    let echo = async |headers: HeaderMap, Json(body): Json<Value>| {
        let told = |name| headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let (trace, token) = (told("traceparent"), told(APP_TOKEN_HEADER));
        (StatusCode::CREATED, Json(json!({ "body": body, "trace": trace, "token": token })))
    };
    let routes = Router::new()
        .route("/echo", post(echo))
        .route("/text", post(async |_: Bytes| (StatusCode::IM_A_TEAPOT, "no JSON")));
    fixture.start_app(&app, vec![], routes).await;
    let caller = fixture.sidecar("caller").await;
    let call = async |path: &str| {
        let limit = Duration::from_secs(30);
        caller.invoke(&app, path, json!({"q": "grüße"}), Some(TRACEPARENT), limit).await.unwrap()
    };
    for path in ["/echo", "echo", "/echo?x=1"] {
        let answer = call(path).await;
        assert_eq!((answer.status, &answer.body["body"]), (201, &json!({"q": "grüße"})));
        assert_eq!(trace(answer.body["trace"].as_str().unwrap()), trace(TRACEPARENT));
        assert_eq!(answer.body["token"], fixture.app_token());
    }
    let answer = call("/text").await;
    assert_eq!((answer.status, answer.body), (418, Value::Null));
    assert_eq!(call("/nowhere").await.status, 404);
    fixture.stop_app(&app).await;
    let away = caller.invoke(&app, "/echo", json!({}), None, Duration::from_secs(30)).await.unwrap_err();
    assert_eq!(away.is_transient(), F::KNOWS_WHO_IS_AWAY, "{away}");
}

pub(crate) async fn invocation_that_fails(fixture: &impl Fixture) {
    let app = format!("app-{}", topic());
    let routes = Router::new().route("/hang", post(async |_: Bytes| std::future::pending::<()>().await)).route(
        "/fail",
        post(async |_: Bytes| (StatusCode::SERVICE_UNAVAILABLE, Json(json!({ "error": "as scripted" })))),
    );
    fixture.start_app(&app, vec![], routes).await;
    let caller = fixture.sidecar("caller").await;
    let (soon, later) = (Duration::from_millis(200), Duration::from_secs(30));
    let late = caller.invoke(&app, "/hang", json!({}), None, soon).await.unwrap_err();
    assert!(late.is_transient(), "{late}");
    // What the app itself says is its answer.
    let failed = caller.invoke(&app, "/fail", json!({}), None, later).await.unwrap();
    assert_eq!((failed.status, failed.body), (503, json!({ "error": "as scripted" })));
    let unknown = caller.invoke(&format!("nobody-{}", topic()), "/x", json!({}), None, later).await.unwrap_err();
    assert!(matches!(unknown, SidecarError::Refused { status: 404, .. }), "{unknown}");
}
