//! An agent that does what the test says.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use async_trait::async_trait;
use mesh_six_core::{
    ErrorType, Usage,
    agent::{AgentCapability, AgentRegistration, AgentStatus},
    id::new_id,
    names::{PUBSUB, TASK_RESULTS, task_topic},
    task::{TaskError, TaskRequest, TaskResult},
    time,
};
use mesh_six_db::{
    Database,
    inbox::{self, Finished, InboxKey},
};
use mesh_six_sidecar::{BulkHandler, Delivery, Message, Sidecar, Status, Subscription, subscription_router};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::rig::{LONG, Rig};

/// What the agent does with a request.
#[derive(Clone)]
pub(crate) enum Act {
    /// Takes it into its inbox and answers.
    Answer(Result<Value, ErrorType>),
    /// Writes the answer into its inbox; its message is lost.
    AnswerUnheard(Result<Value, ErrorType>),
    /// Has no database: answers by message alone.
    AnswerByMessage(Result<Value, ErrorType>),
    /// Takes it into its inbox, begins, and says nothing.
    Hang,
    /// Lets it wait in its inbox.
    Queue,
    /// The request never gets as far as its inbox.
    Lose,
}

/// The answer of a test's agent.
#[expect(clippy::unnecessary_wraps, reason = "scripts take answers of both kinds")]
pub(crate) fn fine() -> Result<Value, ErrorType> {
    Ok(json!({"response": "42"}))
}

type Script = Arc<dyn Fn(&TaskRequest) -> Act + Send + Sync>;

#[derive(Clone)]
pub(crate) struct FakeAgent {
    pub(crate) name: String,
    pub(crate) owner: Uuid,
    db: Database,
    sidecar: Arc<dyn Sidecar>,
    script: Script,
    seen: Arc<Mutex<Vec<TaskRequest>>>,
}

impl FakeAgent {
    pub(crate) async fn join(
        rig: &Rig,
        name: &str,
        weight: f64,
        script: impl Fn(&TaskRequest) -> Act + Send + Sync + 'static,
    ) -> Self {
        let agent = Self {
            name: name.to_owned(),
            owner: new_id(),
            db: rig.db.clone(),
            sidecar: rig.mesh.sidecar(name),
            script: Arc::new(script),
            seen: Arc::default(),
        };
        let subscription = Subscription::bulk(PUBSUB, &task_topic(name), "/tasks", 20, 5);
        let handler: Arc<dyn BulkHandler> = Arc::new(agent.clone());
        let token = Some(rig.mesh.app_token().to_owned());
        rig.mesh.attach(name, subscription_router(vec![(subscription, handler)], token)).await.unwrap();
        rig.registry.register(&registration(name, weight)).await.unwrap();
        agent
    }

    /// The requests that were delivered.
    pub(crate) fn seen(&self) -> Vec<TaskRequest> {
        self.seen.lock().unwrap().clone()
    }

    /// What this agent answers to `request`.
    pub(crate) fn result(&self, request: &TaskRequest, answer: Result<Value, ErrorType>) -> TaskResult {
        let answer = answer.map_err(|error_type| TaskError { error_type, message: "as scripted".to_owned() });
        TaskResult::new(request, &self.name, answer, 7, Usage { input_tokens: 3, ..Usage::default() })
    }

    /// Publishes `result` as this agent.
    pub(crate) async fn publish(&self, result: &TaskResult) {
        let message = Message {
            id: new_id().to_string(),
            topic: TASK_RESULTS.to_owned(),
            time: time::now(),
            traceparent: None,
            data: serde_json::to_value(result).unwrap(),
        };
        self.sidecar.publish(message).await.unwrap();
    }

    /// Writes `result` into the inbox, as after work, once the request is claimed.
    pub(crate) async fn finish(&self, result: &TaskResult) {
        let until = Instant::now() + LONG;
        loop {
            let mut conn = self.db.conn().await.unwrap();
            if inbox::finish(&mut conn, self.owner, result, &[], None).await.unwrap() != Finished::Fenced {
                return;
            }
            assert!(Instant::now() < until, "the request was never claimed");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Claims everything that waits in the inbox.
    pub(crate) async fn claim(&self, lease: Duration) -> Vec<TaskRequest> {
        let mut conn = self.db.conn().await.unwrap();
        let claims = inbox::claim(&mut conn, &self.name, self.owner, 100, lease).await.unwrap();
        claims.into_iter().map(|claim| claim.request).collect()
    }

    async fn act(self, request: TaskRequest, act: Act) {
        match act {
            Act::Lose | Act::Queue => {}
            Act::Hang => drop(self.claim(Duration::from_mins(1)).await),
            Act::AnswerByMessage(answer) => self.publish(&self.result(&request, answer)).await,
            Act::Answer(answer) => {
                self.claim(Duration::from_mins(1)).await;
                let result = self.result(&request, answer);
                self.finish(&result).await;
                self.publish(&result).await;
                let mut conn = self.db.conn().await.unwrap();
                inbox::published(&mut conn, &InboxKey::of_result(&result)).await.unwrap();
            }
            Act::AnswerUnheard(answer) => {
                self.claim(Duration::from_mins(1)).await;
                self.finish(&self.result(&request, answer)).await;
            }
        }
    }
}

#[async_trait]
impl BulkHandler for FakeAgent {
    async fn handle(&self, deliveries: Vec<Delivery>) -> Vec<Status> {
        let mut statuses = Vec::new();
        for delivery in deliveries {
            let request: TaskRequest = serde_json::from_value(delivery.event.data).unwrap();
            let act = (self.script)(&request);
            if !matches!(act, Act::Lose | Act::AnswerByMessage(_)) {
                let Ok(mut conn) = self.db.conn().await else {
                    statuses.push(Status::Retry);
                    continue;
                };
                if inbox::accept(&mut conn, &request, &self.name, None).await.is_err() {
                    statuses.push(Status::Retry);
                    continue;
                }
            }
            self.seen.lock().unwrap().push(request.clone());
            tokio::spawn(self.clone().act(request, act));
            statuses.push(Status::Success);
        }
        statuses
    }

    async fn dropped(&self, _: &Delivery, reason: &str) -> Status {
        panic!("a request was dropped: {reason}");
    }
}

/// An agent that is online.
pub(crate) fn registration(name: &str, weight: f64) -> AgentRegistration {
    AgentRegistration {
        name: name.to_owned(),
        app_id: name.to_owned(),
        capabilities: vec![AgentCapability::new("work", weight)],
        status: AgentStatus::Online,
        health_checks: std::collections::BTreeMap::new(),
        last_heartbeat: String::new(),
        metadata: None,
    }
}
