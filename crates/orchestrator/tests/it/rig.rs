//! One orchestrator, its database and its mesh.

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    body::Body,
    http::{Method, Request, StatusCode},
};
use http_body_util::BodyExt;
use mesh_six_core::names::ORCHESTRATOR;
use mesh_six_db::{Database, events::EventLog};
use mesh_six_orchestrator::{Deps, Orchestrator, OrchestratorConfig, start};
use mesh_six_runtime::{Auth, Mqtt, Registry, shell};
use mesh_six_sidecar::LocalMesh;
use mesh_six_testing::{TestDatabase, wait_for};
use serde_json::{Value, json};
use tokio_util::sync::{CancellationToken, DropGuard};
use tower::ServiceExt;
use uuid::Uuid;

use crate::agent::{Act, FakeAgent};

/// Longer than anything in these tests takes, on a machine that is busy with others.
pub(crate) const LONG: Duration = Duration::from_secs(30);

pub(crate) struct Rig {
    pub(crate) test: Option<TestDatabase>,
    pub(crate) db: Database,
    pub(crate) mesh: LocalMesh,
    pub(crate) registry: Registry,
    pub(crate) router: Router,
    orchestrator: Orchestrator,
    stop: CancellationToken,
    /// Ends the background tasks of a test that fails.
    _end: DropGuard,
}

/// Settings for tests: short pauses, this machine may be probed, no chance.
pub(crate) fn settings() -> OrchestratorConfig {
    OrchestratorConfig {
        exploration: 0.0,
        probe_loopback: true,
        probe_cache: Duration::from_millis(50),
        back_off: [Duration::from_millis(100), Duration::from_millis(200)],
        patience: Duration::ZERO,
        sweep: Duration::from_millis(100),
        poll: Duration::from_millis(50),
        ..OrchestratorConfig::default()
    }
}

impl Rig {
    pub(crate) async fn new() -> Self {
        Self::with(settings()).await
    }

    pub(crate) async fn with(config: OrchestratorConfig) -> Self {
        let test = TestDatabase::new().await;
        let db = test.database().await;
        Self { test: Some(test), ..Self::on(db, LocalMesh::new(), config).await }
    }

    /// One that tells a dashboard.
    pub(crate) async fn telling(mqtt: Mqtt) -> Self {
        let test = TestDatabase::new().await;
        let rig = Self::made(test.database().await, LocalMesh::new(), settings(), Some(mqtt));
        rig.mesh.attach(ORCHESTRATOR, rig.router.clone()).await.unwrap();
        Self { test: Some(test), ..rig }
    }

    /// On a database of the test's own.
    pub(crate) async fn on(db: Database, mesh: LocalMesh, config: OrchestratorConfig) -> Self {
        let rig = Self::detached(db, mesh, config);
        rig.mesh.attach(ORCHESTRATOR, rig.router.clone()).await.unwrap();
        rig
    }

    /// Not subscribed: it learns of results only by looking.
    pub(crate) fn detached(db: Database, mesh: LocalMesh, config: OrchestratorConfig) -> Self {
        Self::made(db, mesh, config, None)
    }

    fn made(db: Database, mesh: LocalMesh, config: OrchestratorConfig, mqtt: Option<Mqtt>) -> Self {
        let stop = CancellationToken::new();
        let sidecar = mesh.sidecar(ORCHESTRATOR);
        let registry = Registry::new(Arc::clone(&sidecar));
        let config = OrchestratorConfig { app_token: Some(mesh.app_token().to_owned()), ..config };
        let log = EventLog::start(db.clone());
        let (described, registry_too) = (Vec::new(), registry.clone());
        let callers = stop.clone();
        let deps = Deps { db: db.clone(), log, sidecar, registry: registry_too, config, described, mqtt, callers };
        let orchestrator = start(deps, &stop);
        let (info, paths, health) =
            (orchestrator.info.clone(), orchestrator.routes.clone(), orchestrator.health.clone());
        let router = shell(info, paths, health, Auth::internal());
        Self { test: None, db, mesh, registry, router, orchestrator, _end: stop.clone().drop_guard(), stop }
    }

    /// An agent with weight `weight` for capability `work`.
    pub(crate) async fn agent(
        &self,
        name: &str,
        weight: f64,
        script: impl Fn(&mesh_six_core::task::TaskRequest) -> Act + Send + Sync + 'static,
    ) -> FakeAgent {
        FakeAgent::join(self, name, weight, script).await
    }

    /// Ends the orchestrator, leaving database and mesh.
    pub(crate) async fn end(&self) {
        self.stop.cancel();
        self.mesh.detach(ORCHESTRATOR).await;
        assert_eq!(self.orchestrator.background.stop(Duration::from_secs(10)).await, 0, "all background tasks end");
    }

    pub(crate) async fn call(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Body>,
    ) -> (StatusCode, axum::http::HeaderMap, Value) {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let answer = self.router.clone().oneshot(request.body(body.into()).unwrap()).await.unwrap();
        let (parts, body) = answer.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        (parts.status, parts.headers, serde_json::from_slice(&bytes).unwrap_or(Value::Null))
    }

    pub(crate) async fn get(&self, path: &str) -> (StatusCode, Value) {
        let (status, _, body) = self.call(Method::GET, path, &[], Body::empty()).await;
        (status, body)
    }

    pub(crate) async fn post(&self, body: &Value) -> (StatusCode, Value) {
        let (status, _, body) = self.call(Method::POST, "/api/v1/tasks", &[], body.to_string()).await;
        (status, body)
    }

    /// Submits a task of capability `work` and expects that it is accepted.
    pub(crate) async fn submit(&self, more: Value) -> Uuid {
        let mut body = json!({"capability": "work", "payload": {"query": "why?"}});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let (status, body) = self.post(&body).await;
        assert_eq!(status, 200, "{body}");
        serde_json::from_value(body["taskId"].clone()).unwrap()
    }

    pub(crate) async fn task(&self, task: Uuid) -> Value {
        let (status, body) = self.get(&format!("/api/v1/tasks/{task}")).await;
        assert_eq!(status, 200, "{body}");
        body
    }

    /// The task, once it is in `status`.
    pub(crate) async fn task_in(&self, task: Uuid, status: &str) -> Value {
        wait_for(LONG, async || Some(self.task(task).await).filter(|t| t["status"] == status)).await
    }

    pub(crate) async fn sql(&self) -> tokio_postgres::Client {
        self.test.as_ref().unwrap().client().await
    }

    /// Types of the task's events in the log's order.
    pub(crate) async fn events(&self, task: Uuid) -> Vec<String> {
        let rows = self
            .sql()
            .await
            .query(
                "SELECT event_type FROM mesh_six_events WHERE task_id::text = $1 ORDER BY txid, seq",
                &[&task.to_string()],
            )
            .await
            .unwrap();
        rows.iter().map(|row| row.get(0)).collect()
    }

    /// How many events of this type the task has.
    pub(crate) async fn count(&self, task: Uuid, event_type: &str) -> usize {
        self.events(task).await.iter().filter(|t| *t == event_type).count()
    }

    /// Lines of the history: attempt, agent, capability, success, error type.
    pub(crate) async fn history(&self, task: Uuid) -> Vec<(i32, String, String, bool, Option<String>)> {
        let mut conn = self.db.conn().await.unwrap();
        let rows = mesh_six_db::history::of_task(&mut conn, task).await.unwrap();
        rows.into_iter()
            .map(|row| {
                assert!(row.duration_ms.is_some_and(|ms| ms >= 0));
                (row.attempt, row.agent_id, row.capability, row.success, row.error_type)
            })
            .collect()
    }
}
