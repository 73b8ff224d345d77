use std::{convert::Infallible, time::Duration};

use axum::{
    Router,
    body::{Body, Bytes},
    routing::{get as on_get, post},
};
use mesh_six_core::{ApiError, ErrorType, TraceId, Validate, task::TaskRequest};
use mesh_six_db::DbError;
use mesh_six_runtime::{
    Auth, HealthState, HttpError, RequestTrace, Routes, Secret, ServiceInfo, ValidJson, ValidPath, ValidQuery, shell,
};
use mesh_six_sidecar::SidecarError;
use serde::Deserialize;
use serde_json::json;
use uuid::Uuid;

use crate::ask::{Answer, ask, get};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Page {
    #[serde(default)]
    limit: u32,
    #[serde(default)]
    after: Option<Uuid>,
}

impl Validate for Page {
    fn validate(&self) -> Result<(), ApiError> {
        if self.limit > 1_000 {
            return Err(ApiError::validation("limit", "limit is at most 1000"));
        }
        Ok(())
    }
}

async fn fail(ValidPath(kind): ValidPath<String>) -> Result<(), HttpError> {
    Err(match kind.as_str() {
        "db" => DbError::Unavailable("connection refused".to_owned()).into(),
        "query" => ApiError::unhandled("a database query failed").into(),
        "sidecar" => SidecarError::Unavailable("connection refused".to_owned()).into(),
        "no-agent" => {
            let table = json!({ "scores": [{ "agentId": "a", "finalScore": 0.0 }] });
            ApiError::new(ErrorType::NoAgent, "no agent can take general-query now").with_details(table).into()
        }
        _ => panic!("a message that must not reach the caller"),
    })
}

fn routes() -> Routes {
    let quick = Router::new()
        .route("/tasks", post(async |ValidJson(task): ValidJson<TaskRequest>| task.capability))
        .route("/tasks/{id}", on_get(async |ValidPath(id): ValidPath<Uuid>| id.to_string()))
        .route("/page", on_get(async |ValidQuery(page): ValidQuery<Page>| format!("{} {:?}", page.limit, page.after)))
        .route("/trace", on_get(async |trace: RequestTrace| format!("{} {}", trace.trace_id, trace.traceparent)))
        .route("/size", post(async |body: Bytes| body.len().to_string()))
        .route("/fail/{kind}", on_get(fail));
    let slow = Router::new().route("/slow", on_get(std::future::pending::<()>));
    Routes::new()
        .public(quick)
        .public_within(slow, Some(Duration::from_millis(20)))
        .delivered(Router::new().route("/deliver", post(async || "SUCCESS")))
}

fn service(auth: Auth) -> (Router, HealthState) {
    let health = HealthState::new();
    let info = ServiceInfo::new("simple-agent").with_field("capabilities", json!(["general-query"]));
    (shell(info, routes(), health.clone(), auth), health)
}

fn open() -> Router {
    service(Auth::internal()).0
}

fn listening(address: &str, token: Option<&str>, anonymous: bool) -> Router {
    let sidecar = Some(Secret::new("from-dapr"));
    service(Auth::for_listener(address.parse().unwrap(), token.map(Secret::new), sidecar, anonymous).unwrap()).0
}

async fn post_task(body: impl Into<Body>) -> Answer {
    ask(&open(), "POST /tasks", &[], body).await
}

fn task(change: &serde_json::Value) -> String {
    let mut task = json!({
        "id": Uuid::now_v7(), "capability": "general-query", "payload": {}, "requestedBy": "me",
        "createdAt": "2026-11-23T04:43:04Z", "traceId": TraceId::new(),
    });
    for (name, value) in change.as_object().unwrap() {
        task[name] = value.clone();
    }
    task.to_string()
}

#[tokio::test]
async fn bad_bodies_are_named() {
    insta::assert_snapshot!("body_malformed", post_task("{").await.show());
    insta::assert_snapshot!("body_empty", post_task("").await.show());
    insta::assert_snapshot!("body_field_missing", post_task("{}").await.show());
    insta::assert_snapshot!("body_wrong_type", post_task(task(&json!({ "timeout": "soon" }))).await.show());
    insta::assert_snapshot!("body_out_of_range", post_task(task(&json!({ "priority": 11 }))).await.show());
    insta::assert_snapshot!("body_bad_id", post_task(task(&json!({ "id": "seven" }))).await.show());
    assert_eq!(post_task(task(&json!({ "timeout": 0 }))).await.json()["error"]["field"], "timeout");
}

#[tokio::test]
async fn a_wrong_or_missing_content_type_does_not_matter() {
    for kind in ["text/plain", "application/x-www-form-urlencoded", "application/json; charset=utf-8"] {
        let answer = ask(&open(), "POST /tasks", &[("content-type", kind)], task(&json!({}))).await;
        assert_eq!((answer.status.as_u16(), answer.text.as_str()), (200, "general-query"));
    }
    assert_eq!(post_task(task(&json!({}))).await.status, 200);
}

#[tokio::test]
async fn a_body_over_one_mebibyte_is_refused_with_or_without_a_length() {
    let two_mib = vec![b' '; 2 * 1024 * 1024];
    insta::assert_snapshot!("body_too_large", post_task(two_mib.clone()).await.show());
    let chunks = two_mib.chunks(1000).map(|c| Ok::<_, Infallible>(Bytes::copy_from_slice(c))).collect::<Vec<_>>();
    let chunked = Body::from_stream(futures_util::stream::iter(chunks));
    assert_eq!(ask(&open(), "POST /size", &[], chunked).await.status, 413);
    let just_fits = ask(&open(), "POST /size", &[], vec![0; 1024 * 1024]).await;
    assert_eq!((just_fits.status.as_u16(), just_fits.text.as_str()), (200, "1048576"));
}

#[tokio::test]
async fn bad_paths_and_queries_are_named() {
    let router = open();
    insta::assert_snapshot!("path_no_uuid", get(&router, "/tasks/seven").await.show());
    insta::assert_snapshot!("query_wrong_type", get(&router, "/page?limit=many").await.show());
    insta::assert_snapshot!("query_bad_id", get(&router, "/page?after=seven").await.show());
    insta::assert_snapshot!("query_unknown", get(&router, "/page?limits=1").await.show());
    insta::assert_snapshot!("query_out_of_range", get(&router, "/page?limit=1001").await.show());
    insta::assert_snapshot!("query_twice", get(&router, "/page?limit=1&limit=2").await.show());
    assert_eq!(get(&router, "/page?limit=7").await.text, "7 None");
}

#[tokio::test]
async fn unknown_routes_and_methods_are_answered_in_our_form() {
    insta::assert_snapshot!("no_route", get(&open(), "/nowhere").await.show());
    insta::assert_snapshot!("no_method", ask(&open(), "PATCH /tasks", &[], "").await.show());
}

#[tokio::test]
async fn faults_are_answered_in_our_form() {
    let router = open();
    insta::assert_snapshot!("database_away", get(&router, "/fail/db").await.show());
    insta::assert_snapshot!("database_query", get(&router, "/fail/query").await.show());
    insta::assert_snapshot!("sidecar_away", get(&router, "/fail/sidecar").await.show());
    insta::assert_snapshot!("no_agent", get(&router, "/fail/no-agent").await.show());
    insta::assert_snapshot!("panicked", get(&router, "/fail/panic").await.show());
    insta::assert_snapshot!("too_slow", get(&router, "/slow").await.show());
    assert!(get(&router, "/metrics").await.text.contains(r#"mesh_six_panics_total{where="http"}"#));
}

#[tokio::test]
async fn probes() {
    let (router, health) = service(Auth::internal());
    health.not_ready("sidecar", "the sidecar does not answer");
    health.set_detail("inFlight", 3);
    insta::assert_snapshot!("healthz", get(&router, "/healthz").await.show());
    insta::assert_snapshot!("readyz_not_yet", get(&router, "/readyz").await.show());
    health.ready("sidecar");
    insta::assert_snapshot!("readyz", get(&router, "/readyz").await.show());
    health.draining();
    assert!(!health.is_ready());
    insta::assert_snapshot!("readyz_draining", get(&router, "/readyz").await.show());
    assert_eq!(get(&router, "/version").await.json()["service"], "simple-agent");
}

#[tokio::test]
async fn metrics_count_by_route_not_by_path() {
    let router = open();
    get(&router, "/tasks/0190b6c0-0000-7000-8000-000000000001").await;
    get(&router, "/made/up/by/somebody").await;
    let answer = get(&router, "/metrics").await;
    assert_eq!(answer.headers["content-type"], "text/plain; version=0.0.4; charset=utf-8");
    assert!(
        answer.text.contains(
            r#"mesh_six_http_requests_total{service="simple-agent",method="GET",route="/tasks/{id}",status="200"}"#
        ),
        "{}",
        answer.text
    );
    assert!(!answer.text.contains("somebody"));
}

#[tokio::test]
async fn a_token_is_asked_for_except_by_probes_and_deliveries() {
    let router = listening("0.0.0.0:3000", Some("right"), false);
    insta::assert_snapshot!("no_token", get(&router, "/page").await.show());
    insta::assert_snapshot!(
        "wrong_token",
        ask(&router, "GET /page", &[("authorization", "Bearer wrong")], "").await.show()
    );
    for header in [("authorization", "Bearer right"), ("dapr-api-token", "from-dapr")] {
        assert_eq!(ask(&router, "GET /page", &[header], "").await.status, 200);
    }
    for open in ["/healthz", "/readyz", "/metrics", "/version"] {
        assert_eq!(get(&router, open).await.status, 200, "{open}");
    }
    assert_eq!(ask(&router, "POST /deliver", &[], "").await.text, "SUCCESS");
    assert_eq!(get(&listening("0.0.0.0:3000", None, true), "/page").await.status, 200);
}

#[tokio::test]
async fn on_loopback_host_and_origin_are_checked_for_every_route() {
    let router = listening("127.0.0.1:7600", None, false);
    let good = [("host", "localhost:7600"), ("origin", "http://localhost:7600")];
    assert_eq!(ask(&router, "GET /page", &good, "").await.status, 200);
    insta::assert_snapshot!("bad_host", ask(&router, "GET /page", &[("host", "evil.example:7600")], "").await.show());
    let foreign = [("host", "localhost:7600"), ("origin", "http://evil.example")];
    insta::assert_snapshot!("bad_origin", ask(&router, "POST /tasks", &foreign, "").await.show());
    for path in ["/healthz", "/metrics", "/nowhere"] {
        assert_eq!(ask(&router, &format!("GET {path}"), &[("host", "evil.example")], "").await.status, 403, "{path}");
    }
    // Elsewhere the name is whatever the cluster calls the service.
    let cluster = listening("0.0.0.0:3000", None, true);
    assert_eq!(ask(&cluster, "GET /page", &[("host", "simple-agent.mesh-six:3000")], "").await.status, 200);
}

#[tokio::test]
async fn a_request_keeps_the_callers_trace_and_gets_one_otherwise() {
    let router = open();
    let theirs = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let answer = ask(&router, "GET /trace", &[("traceparent", theirs)], "").await.text;
    assert!(answer.starts_with("4bf92f3577b34da6a3ce929d0e0e4736 00-4bf92f3577b34da6a3ce929d0e0e4736-"), "{answer}");
    for bad in ["", "00-0-0-0"] {
        let answer = ask(&router, "GET /trace", &[("traceparent", bad)], "").await.text;
        let (id, parent) = answer.split_once(' ').unwrap();
        let id: TraceId = id.parse().unwrap();
        assert_eq!(id.as_uuid().get_version_num(), 7);
        assert_eq!(TraceId::from_traceparent(parent), Some(id));
    }
}

#[tokio::test]
async fn a_shell_may_stand_inside_another() {
    let outer = shell(
        ServiceInfo::new("up"),
        Routes::new().delivered(Router::new().nest("/_svc/simple-agent", open())),
        HealthState::new(),
        Auth::internal(),
    );
    assert_eq!(get(&outer, "/_svc/simple-agent/healthz").await.json()["service"], "simple-agent");
    assert_eq!(get(&outer, "/healthz").await.json()["service"], "up");
    assert_eq!(get(&outer, "/_svc/simple-agent/nowhere").await.json()["error"]["type"], "not_found");
    assert_eq!(get(&outer, "/_svc/nobody/healthz").await.json()["error"]["type"], "not_found");
}
