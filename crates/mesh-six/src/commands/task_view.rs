//! A task as the API shows it.

use std::fmt::Write;

use mesh_six_core::{
    TraceId, Usage,
    task::{TaskError, TaskStatus},
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

/// What the commands read of a task; further fields are ignored.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct TaskView {
    pub(crate) task_id: Uuid,
    pub(crate) capability: String,
    pub(crate) status: TaskStatus,
    pub(crate) dispatched_to: Option<String>,
    pub(crate) score: Option<f64>,
    #[serde(default)]
    pub(crate) attempts: i32,
    pub(crate) trace_id: TraceId,
    pub(crate) duration_ms: Option<i64>,
    pub(crate) usage: Option<Usage>,
    pub(crate) result: Option<Value>,
    pub(crate) error: Option<TaskError>,
    pub(crate) created_at: String,
}

impl TaskView {
    /// The object that `submit --json` prints.
    pub(crate) fn summary(&self) -> Value {
        let mut summary = json!({
            "taskId": self.task_id,
            "status": self.status,
            "agentId": self.dispatched_to,
            "score": self.score,
            "attempts": self.attempts,
            "durationMs": self.duration_ms,
            "traceId": self.trace_id,
            "usage": self.usage,
            "result": self.result,
        });
        if let Some(error) = &self.error {
            summary["error"] = json!(error);
        }
        summary
    }

    /// The answer as text: `response` where there is one, else the whole result.
    pub(crate) fn answer(&self) -> Option<String> {
        let result = self.result.as_ref()?;
        match result.get("response").and_then(Value::as_str) {
            Some(text) => Some(text.to_owned()),
            None => serde_json::to_string_pretty(result).ok(),
        }
    }

    /// The last line under an answer.
    pub(crate) fn facts(&self) -> String {
        let usage = self.usage.unwrap_or_default();
        let mut facts = format!(
            "task {}  agent {}  score {}  {}  {} + {} tokens",
            self.task_id,
            self.dispatched_to.as_deref().unwrap_or("-"),
            self.score.map_or_else(|| "-".to_owned(), |s| format!("{s:.3}")),
            self.duration_ms.map_or_else(|| "-".to_owned(), crate::output::duration),
            usage.input_tokens,
            usage.output_tokens,
        );
        if let Some(cost) = usage.cost_usd {
            let _ = write!(facts, "  ${cost:.4}");
        }
        if self.attempts > 1 {
            let _ = write!(facts, "  {} attempts", self.attempts);
        }
        facts
    }
}
