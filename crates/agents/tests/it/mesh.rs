//! A mesh around one agent: the local sidecar, a model, a database, and somebody who collects what is published.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use axum::{
    Router,
    body::{Body, to_bytes},
    http::{Request, StatusCode},
};
use mesh_six_core::{
    TraceId,
    id::new_id,
    names,
    task::{Payload, TaskProgress, TaskRequest, TaskResult},
    time,
};
use mesh_six_db::{
    Database,
    events::{DatabaseSink, EventLog},
};
use mesh_six_llm::{ChatModel, LlmConfig, OpenAiModel};
use mesh_six_runtime::{
    Auth, Registry,
    agent::{Agent, AgentConfig, AgentDatabase, AgentDeps, AgentService},
};
use mesh_six_sidecar::{
    BulkHandler, CloudEvent, Delivery, LocalMesh, Message, Sidecar, Status, Subscription, subscription_router,
};
use mesh_six_testing::{StubModel, TestDatabase, TestServer, wait_for, wait_until};
use serde_json::Value;
use tokio_postgres::Client;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;
use uuid::Uuid;

/// How long a test waits for something that should happen at once.
pub(crate) const SOON: Duration = Duration::from_secs(10);

/// Where a test's database lives: a database on the shared server, a server of its own, or none.
pub(crate) enum Store {
    Shared(TestDatabase),
    Own(Box<TestServer>),
    None,
}

pub(crate) struct Mesh {
    pub(crate) local: LocalMesh,
    pub(crate) model: StubModel,
    pub(crate) store: Store,
    database: Option<AgentDatabase>,
    collected: Arc<Collector>,
}

/// An agent that runs in the mesh.
pub(crate) struct Running {
    pub(crate) router: Router,
    app_id: String,
    shutdown: CancellationToken,
    service: AgentService,
}

impl Mesh {
    /// A mesh with a database of its own.
    pub(crate) async fn new() -> Self {
        let database = TestDatabase::new().await;
        let db = database.database().await;
        Self::build(Store::Shared(database), Some(db)).await
    }

    /// A mesh with a database server of its own, which can be stopped.
    pub(crate) async fn with_own_server() -> Self {
        let server = TestServer::start().await;
        let db = server.database().await;
        Self::build(Store::Own(Box::new(server)), Some(db)).await
    }

    /// A mesh without a database.
    pub(crate) async fn without_database() -> Self {
        Self::build(Store::None, None).await
    }

    async fn build(store: Store, db: Option<Database>) -> Self {
        let database = db.map(|db| {
            let log = EventLog::start(db.clone());
            AgentDatabase { sink: DatabaseSink::start(log.clone()), db, log }
        });
        let local = LocalMesh::new();
        let collected = Arc::new(Collector::default());
        let subscribe = |topic: &str, route: &str| {
            let handler: Arc<dyn BulkHandler> = collected.clone();
            (Subscription::bulk(names::PUBSUB, topic, route, 100, 5), handler)
        };
        let subscriptions =
            vec![subscribe(names::TASK_RESULTS, "/results"), subscribe(names::TASK_PROGRESS, "/progress")];
        let router = subscription_router(subscriptions, Some(local.app_token().to_owned()));
        local.attach("collector", router).await.unwrap();
        Self { local, model: StubModel::start().await, store, database, collected }
    }

    /// Settings for tests: everything is quick.
    pub(crate) fn config(&self) -> AgentConfig {
        AgentConfig {
            app_token: Some(self.local.app_token().to_owned()),
            heartbeat: Duration::from_millis(100),
            poll: Duration::from_millis(50),
            grace: SOON,
            ..AgentConfig::default()
        }
    }

    /// Starts `agent` and lets the sidecar deliver to it.
    pub(crate) async fn start(&self, agent: Arc<dyn Agent>) -> Running {
        self.start_with(agent, self.config()).await
    }

    pub(crate) async fn start_with(&self, agent: Arc<dyn Agent>, config: AgentConfig) -> Running {
        let running = self.replica(agent, config);
        self.local.attach(&running.app_id, running.router.clone()).await.unwrap();
        wait_until(SOON, async || running.get("/readyz").await.0 == StatusCode::OK).await;
        running
    }

    /// Starts `agent` without deliveries of its own: a second replica, which shares the inbox.
    pub(crate) fn replica(&self, agent: Arc<dyn Agent>, config: AgentConfig) -> Running {
        let app_id = agent.definition().app_id;
        let sidecar = self.local.sidecar(&app_id);
        let shutdown = CancellationToken::new();
        let deps = AgentDeps {
            agent,
            config,
            registry: Registry::new(sidecar.clone()),
            sidecar,
            model: self.chat_model(),
            database: self.database.clone(),
            mqtt: None,
        };
        let service = AgentService::start(deps, shutdown.clone());
        Running { router: service.router(Auth::internal()), app_id, shutdown, service }
    }

    fn chat_model(&self) -> Arc<dyn ChatModel> {
        let config = LlmConfig { base_url: self.model.url().to_owned(), api_key: None, model: "stub".to_owned() };
        Arc::new(OpenAiModel::new(&config).unwrap())
    }

    pub(crate) fn registry(&self) -> Registry {
        Registry::new(self.local.sidecar("test"))
    }

    pub(crate) fn sidecar(&self) -> Arc<dyn Sidecar> {
        self.local.sidecar(names::ORCHESTRATOR)
    }

    pub(crate) async fn client(&self) -> Client {
        match &self.store {
            Store::Shared(database) => database.client().await,
            Store::Own(server) => server.client().await,
            Store::None => panic!("this mesh has no database"),
        }
    }

    /// What the orchestrator does: a task with an open attempt by `agent`, then the message.
    pub(crate) async fn dispatch(&self, agent: &str, request: &TaskRequest) {
        if !matches!(self.store, Store::None) {
            self.open_attempt(agent, request).await;
        }
        self.send(agent, request).await;
    }

    async fn open_attempt(&self, agent: &str, request: &TaskRequest) {
        let client = self.client().await;
        let (task, trace) = (request.id.to_string(), request.trace_id.to_string());
        let sql = "INSERT INTO orchestrator_tasks (task_id, capability, requested_by, trace_id, status, attempts)
            VALUES ($1::text::uuid, $2, 'test', $3::text::uuid, 'dispatched', 1)";
        client.execute(sql, &[&task, &request.capability, &trace]).await.unwrap();
        let sql = "INSERT INTO task_attempts (task_id, attempt, agent_id, deadline_at)
            VALUES ($1::text::uuid, $2, $3, now() + $4 * interval '1 s')";
        client.execute(sql, &[&task, &request.attempt, &agent, &f64::from(request.timeout)]).await.unwrap();
    }

    /// The message alone, as when it is delivered again.
    pub(crate) async fn send(&self, agent: &str, request: &TaskRequest) {
        self.send_raw(agent, serde_json::to_value(request).unwrap()).await;
    }

    pub(crate) async fn send_raw(&self, agent: &str, data: Value) {
        let message = Message {
            id: new_id().to_string(),
            topic: names::task_topic(agent),
            time: time::now(),
            traceparent: Some(TraceId::new().to_traceparent()),
            data,
        };
        self.sidecar().publish(message).await.unwrap();
    }

    /// The results on `task-results` so far, with their envelopes.
    pub(crate) fn results(&self, task: Uuid) -> Vec<(CloudEvent, TaskResult)> {
        let parse = |event: CloudEvent| {
            let result: TaskResult = serde_json::from_value(event.data.clone()).unwrap();
            (event, result)
        };
        let all = self.collected.topic(names::TASK_RESULTS).into_iter().map(parse);
        all.filter(|(_, result)| result.task_id == task).collect()
    }

    /// The first result of `task`.
    pub(crate) async fn result(&self, task: Uuid) -> TaskResult {
        self.result_within(SOON, task).await
    }

    pub(crate) async fn result_within(&self, within: Duration, task: Uuid) -> TaskResult {
        wait_for(within, async || self.results(task).pop().map(|(_, result)| result)).await
    }

    /// The progress notes of `task` so far.
    pub(crate) fn progress(&self, task: Uuid) -> Vec<String> {
        let notes = self.collected.topic(names::TASK_PROGRESS).into_iter();
        let notes = notes.map(|event| serde_json::from_value::<TaskProgress>(event.data).unwrap());
        notes.filter(|note| note.task_id == task).map(|note| note.status).collect()
    }

    /// The types of the task's events, in the log's order.
    pub(crate) async fn events(&self, task: Uuid) -> Vec<String> {
        let sql = "SELECT event_type FROM mesh_six_events WHERE task_id = $1::text::uuid ORDER BY txid, seq";
        let rows = self.client().await.query(sql, &[&task.to_string()]).await.unwrap();
        rows.iter().map(|row| row.get(0)).collect()
    }

    /// One text from the database.
    pub(crate) async fn text(&self, sql: &str) -> Option<String> {
        self.client().await.query_opt(sql, &[]).await.unwrap().map(|row| row.get(0))
    }

    /// Stops the database server, if it is the test's own.
    pub(crate) async fn stop_database(&mut self) {
        if let Store::Own(server) = &mut self.store {
            server.stop().await;
        }
    }

    pub(crate) async fn restart_database(&mut self) {
        if let Store::Own(server) = &mut self.store {
            server.restart().await;
        }
    }
}

impl Running {
    pub(crate) async fn get(&self, path: &str) -> (StatusCode, Value) {
        self.ask("GET", path, String::new()).await
    }

    pub(crate) async fn post(&self, path: &str, body: impl Into<String>) -> (StatusCode, Value) {
        self.ask("POST", path, body.into()).await
    }

    async fn ask(&self, method: &str, path: &str, body: String) -> (StatusCode, Value) {
        let request = Request::builder().method(method).uri(path).body(Body::from(body)).unwrap();
        let answer = self.router.clone().oneshot(request).await.unwrap();
        let status = answer.status();
        let bytes = to_bytes(answer.into_body(), usize::MAX).await.unwrap();
        (status, serde_json::from_slice(&bytes).unwrap_or_default())
    }

    /// SIGTERM, without waiting for the end.
    pub(crate) fn terminate(&self) {
        self.shutdown.cancel();
    }

    /// SIGTERM, and waits until the agent has drained.
    pub(crate) async fn end(self) {
        self.shutdown.cancel();
        self.service.ended().await;
    }
}

/// A request for `capability` with the payload `{...}`.
pub(crate) fn request(capability: &str, payload: Value) -> TaskRequest {
    let Value::Object(payload): Value = payload else { panic!("a payload is an object") };
    let payload: Payload = payload;
    TaskRequest {
        id: new_id(),
        capability: capability.to_owned(),
        payload,
        priority: 5,
        timeout: 60,
        requested_by: "test".to_owned(),
        created_at: time::now(),
        trace_id: TraceId::new(),
        attempt: 1,
        user_id: None,
    }
}

/// Keeps every event that is delivered to it.
#[derive(Default)]
struct Collector(Mutex<Vec<CloudEvent>>);

impl Collector {
    fn topic(&self, topic: &str) -> Vec<CloudEvent> {
        self.0.lock().unwrap().iter().filter(|event| event.topic.as_deref() == Some(topic)).cloned().collect()
    }
}

#[async_trait]
impl BulkHandler for Collector {
    async fn handle(&self, deliveries: Vec<Delivery>) -> Vec<Status> {
        let answers = vec![Status::Success; deliveries.len()];
        self.0.lock().unwrap().extend(deliveries.into_iter().map(|delivery| delivery.event));
        answers
    }

    async fn dropped(&self, _: &Delivery, reason: &str) -> Status {
        panic!("an agent published something unreadable: {reason}");
    }
}
