//! What a handler is given beside the request.

use std::sync::Arc;

use mesh_six_core::TraceId;
use mesh_six_llm::Generator;
use serde_json::Value;
use tokio::time::Instant;

use super::{AgentDefinition, progress::Progress};

/// One attempt at work: the traced model, the deadline, and a way to tell how it goes.
pub struct TaskContext {
    /// The model; every request goes into the event log.
    pub generator: Generator,
    /// When the attempt ends, whatever the handler does.
    pub deadline: Instant,
    /// The W3C trace id of the task.
    pub trace_id: TraceId,
    pub(super) agent: Arc<AgentDefinition>,
    pub(super) progress: Arc<Progress>,
}

impl TaskContext {
    /// Who works, under the identity it runs as.
    pub fn agent(&self) -> &AgentDefinition {
        &self.agent
    }

    /// Publishes a note on `task-progress`: one word such as `searching`, and details. Best effort, bounded in
    /// number and size; returns at once. Start, tool calls and end are told already.
    pub fn progress(&self, status: &str, details: Option<Value>) {
        self.progress.send(status, details);
    }
}
