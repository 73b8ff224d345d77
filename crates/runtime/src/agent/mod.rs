//! The common contract of agents (services.md §2), once: an agent is a definition and a handler; delivery,
//! queue, deadline, retries, tracing, registration, health and draining come with it.
//!
//! The queue is the agent's inbox: a table that its replicas share, or memory where there is no database. A
//! delivery only writes the inbox; workers claim from it, and a relay publishes what they answer.

mod config;
mod context;
mod deliveries;
mod dependencies;
mod execution;
mod inbox;
mod invoke;
mod membership;
mod metrics;
mod progress;
mod relay;
mod service;
mod worker;

use std::collections::BTreeMap;

use async_trait::async_trait;
use mesh_six_core::{
    agent::{AgentCapability, AgentRegistration, AgentStatus},
    task::{TaskError, TaskRequest},
    time,
};
use serde_json::{Map, Value};

pub use config::AgentConfig;
pub use context::TaskContext;
pub use metrics::METRICS;
pub use service::{AgentDatabase, AgentDeps, AgentService};

/// Requests that an agent works on at once, unless it says otherwise.
pub const DEFAULT_CONCURRENCY: usize = 8;

/// Who an agent is and what it can do.
#[derive(Clone, Debug, PartialEq)]
pub struct AgentDefinition {
    /// The Dapr app-id.
    pub app_id: String,
    /// The name shown to people.
    pub name: String,
    /// What it can do; the first is what `/invoke` takes where none is named.
    pub capabilities: Vec<AgentCapability>,
    /// URLs of what it depends on, by requirement: the orchestrator probes those that a capability requires, and the
    /// agent itself all of them, degraded while one is down.
    pub health_checks: BTreeMap<String, String>,
    /// Anything else for the registry.
    pub metadata: Option<Value>,
    /// Requests that it works on at once, over all callers.
    pub max_concurrency: usize,
}

impl AgentDefinition {
    /// An agent without health checks and metadata, with the usual concurrency.
    pub fn new(app_id: &str, name: &str, capabilities: Vec<AgentCapability>) -> Self {
        Self {
            app_id: app_id.to_owned(),
            name: name.to_owned(),
            capabilities,
            health_checks: BTreeMap::new(),
            metadata: None,
            max_concurrency: DEFAULT_CONCURRENCY,
        }
    }

    /// Its entry in the registry as of now.
    pub(crate) fn registration(&self, status: AgentStatus) -> AgentRegistration {
        AgentRegistration {
            name: self.name.clone(),
            app_id: self.app_id.clone(),
            capabilities: self.capabilities.clone(),
            status,
            health_checks: self.health_checks.clone(),
            last_heartbeat: time::format(time::now()),
            metadata: self.metadata.clone(),
        }
    }

    /// Says in the registry where the inbox is, so that the orchestrator believes no message that the inbox of an
    /// agent with a database does not hold. Metadata that is no object stays as it is.
    pub(crate) fn with_inbox(mut self, inbox: &str) -> Self {
        if let Value::Object(metadata) = self.metadata.get_or_insert_with(|| Value::Object(Map::new())) {
            metadata.insert("inbox".to_owned(), inbox.into());
        }
        self
    }

    /// Whether it can do `capability`.
    pub(crate) fn can(&self, capability: &str) -> bool {
        self.capabilities.iter().any(|c| c.name == capability)
    }
}

/// What an author of an agent writes.
#[async_trait]
pub trait Agent: Send + Sync + 'static {
    /// Who it is.
    fn definition(&self) -> AgentDefinition;

    /// Answers one request whose capability is one of the definition's. It is dropped at the task's deadline;
    /// a panic becomes a failed result. The error's message goes to the caller: one sentence, without upstream
    /// bodies or secrets.
    async fn handle(&self, task: &TaskRequest, cx: &TaskContext) -> Result<Value, TaskError>;
}
