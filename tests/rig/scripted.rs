//! An agent that a test plays: registered like any other, beside a real sidecar of its own, and it says what the test
//! says, when the test says it.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use mesh_six_core::{
    ErrorType, Usage,
    agent::{AgentCapability, AgentRegistration, AgentStatus},
    names::{PUBSUB, TASK_RESULTS, task_topic},
    parse_value,
    task::{TaskError, TaskRequest, TaskResult},
    time,
};
use mesh_six_runtime::Registry;
use mesh_six_sidecar::{
    BulkHandler, DaprSidecar, Delivery, Message, Sidecar, Status, Subscription, subscription_router,
};
use mesh_six_testing::{
    rig::{Guest, Rig},
    wait_for,
};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::task::AbortOnDropHandle;
use uuid::Uuid;

use crate::support::SOON;

type Asked = Arc<Mutex<Vec<TaskRequest>>>;

/// A registered agent without a will of its own.
pub(crate) struct ScriptedAgent {
    pub(crate) name: String,
    asked: Asked,
    sidecar: Arc<DaprSidecar>,
    _guest: Guest,
    _serving: AbortOnDropHandle<()>,
}

impl ScriptedAgent {
    /// Joins the mesh with these capabilities and weights. `inbox` is what it says of its inbox: `memory`, then it is
    /// believed on its messages, or `database`.
    pub(crate) async fn join(rig: &Rig, name: &str, inbox: &str, capabilities: &[(&str, f64)]) -> Self {
        let asked = Asked::default();
        let subscription = Subscription::bulk(PUBSUB, &task_topic(name), "/tasks", 20, 5);
        let ears: Arc<dyn BulkHandler> = Arc::new(Ears(Arc::clone(&asked)));
        let routes = subscription_router(vec![(subscription, ears)], Some(rig.app_token().to_owned()));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let serving = AbortOnDropHandle::new(tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() }));
        let mut guest = rig.guest(name, "simple-agent", Some(port)).await.unwrap();
        guest.daprd().wait_subscribed().await.unwrap();
        let registration = AgentRegistration {
            name: name.to_owned(),
            app_id: name.to_owned(),
            capabilities: capabilities.iter().map(|(name, weight)| AgentCapability::new(*name, *weight)).collect(),
            status: AgentStatus::Online,
            health_checks: std::collections::BTreeMap::new(),
            last_heartbeat: time::format(time::now()),
            metadata: Some(json!({ "inbox": inbox })),
        };
        Registry::new(guest.sidecar()).register(&registration).await.unwrap();
        Self { name: name.to_owned(), asked, sidecar: guest.sidecar(), _guest: guest, _serving: serving }
    }

    /// The request for this attempt, once it has come.
    pub(crate) async fn asked(&self, task: &str, attempt: i32) -> TaskRequest {
        let wanted = |request: &&TaskRequest| request.id.to_string() == task && request.attempt == attempt;
        wait_for(SOON, async || self.asked.lock().unwrap().iter().find(wanted).cloned()).await
    }

    /// What it would answer.
    pub(crate) fn answer(&self, request: &TaskRequest, answer: &str) -> TaskResult {
        TaskResult::new(request, &self.name, Ok(json!({ "response": answer })), 7, Usage::default())
    }

    /// What it would answer if it could not do it.
    pub(crate) fn failure(&self, request: &TaskRequest) -> TaskResult {
        let error = TaskError { error_type: ErrorType::LlmError, message: "as scripted".to_owned() };
        TaskResult::new(request, &self.name, Err(error), 7, Usage::default())
    }

    /// Publishes `result` in an envelope of its own.
    pub(crate) async fn say(&self, result: &TaskResult) {
        self.say_as(&Uuid::now_v7().to_string(), result).await;
    }

    /// Publishes `result` in an envelope with this id.
    pub(crate) async fn say_as(&self, id: &str, result: &TaskResult) {
        let message = Message {
            id: id.to_owned(),
            topic: TASK_RESULTS.to_owned(),
            time: result.completed_at,
            traceparent: Some(result.trace_id.to_traceparent()),
            data: json!(result),
        };
        self.sidecar.publish(message).await.unwrap();
    }
}

/// Hears everything and does nothing about it.
struct Ears(Asked);

#[async_trait]
impl BulkHandler for Ears {
    async fn handle(&self, deliveries: Vec<Delivery>) -> Vec<Status> {
        let requests = deliveries.iter().map(|delivery| parse_value::<TaskRequest>(Value::clone(&delivery.event.data)));
        self.0.lock().unwrap().extend(requests.map(Result::unwrap));
        vec![Status::Success; deliveries.len()]
    }

    async fn dropped(&self, _: &Delivery, _: &str) -> Status {
        Status::Drop
    }
}
