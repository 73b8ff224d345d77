//! Tasks as they are asked for, stored and shown.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use mesh_six_core::{
    TraceId, Usage,
    scoring::{AgentScoreCard, rounded_option},
    task::{Payload, TaskError, TaskRequest, TaskResult, TaskStatus},
    time,
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;
use uuid::Uuid;

use crate::schema::orchestrator_tasks;

/// A task that is to be accepted.
#[derive(Clone, Debug, PartialEq)]
pub struct NewTask {
    /// A `UUIDv7`.
    pub id: Uuid,
    /// The caller's `Idempotency-Key`.
    pub client_key: Option<String>,
    /// What is asked for.
    pub capability: String,
    /// The input.
    pub payload: Payload,
    /// 0 to 10.
    pub priority: i32,
    /// Seconds that one attempt may take.
    pub timeout: i32,
    /// Who asks.
    pub requested_by: String,
    /// For whom.
    pub user_id: Option<String>,
    /// The W3C trace id.
    pub trace_id: TraceId,
    /// What messages about the task carry as their W3C `traceparent`.
    pub traceparent: String,
}

impl NewTask {
    /// What the agent of the first attempt is sent.
    pub(super) fn request(&self, created_at: DateTime<Utc>) -> TaskRequest {
        TaskRequest {
            id: self.id,
            capability: self.capability.clone(),
            payload: self.payload.clone(),
            priority: self.priority,
            timeout: self.timeout,
            requested_by: self.requested_by.clone(),
            created_at,
            trace_id: self.trace_id,
            attempt: 1,
            user_id: self.user_id.clone(),
        }
    }
}

/// Who gets an attempt, and why.
#[derive(Clone, Debug, PartialEq)]
pub struct Assignment {
    /// The agent.
    pub agent: String,
    /// Its score.
    pub score: f64,
    /// All that were looked at, best first.
    pub scores: Vec<AgentScoreCard>,
}

/// A task without its input and answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TaskSummary {
    /// The task.
    pub task_id: Uuid,
    /// What is asked for.
    pub capability: String,
    /// Where it stands.
    pub status: TaskStatus,
    /// The agent of the newest attempt; once completed, the one that answered.
    pub dispatched_to: Option<String>,
    /// When the newest attempt began.
    #[serde(with = "time::micros_option", default)]
    pub dispatched_at: Option<DateTime<Utc>>,
    /// The agent's score when it was chosen.
    #[serde(serialize_with = "rounded_option")]
    pub score: Option<f64>,
    /// Attempts begun.
    pub attempts: i32,
    /// Attempts that there may be.
    pub max_attempts: i32,
    /// The agents of all attempts, in order.
    pub tried_agents: Vec<String>,
    /// 0 (can wait) to 10 (urgent).
    pub priority: i32,
    /// Seconds that one attempt may take.
    pub timeout: i32,
    /// Who asked.
    pub requested_by: String,
    /// For whom.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_id: Option<String>,
    /// The W3C trace id.
    pub trace_id: TraceId,
    /// Why the newest attempt that ended failed, if it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<TaskError>,
    /// What the model requests of all answered attempts used.
    pub usage: Usage,
    /// When the task was accepted.
    #[serde(with = "time::micros")]
    pub created_at: DateTime<Utc>,
    /// When anything about it changed.
    #[serde(with = "time::micros")]
    pub updated_at: DateTime<Utc>,
    /// When the open attempt ends, or, between two attempts, before which the next one does not begin.
    #[serde(with = "time::micros_option", default, skip_serializing_if = "Option::is_none")]
    pub deadline_at: Option<DateTime<Utc>>,
    /// When the task ended.
    #[serde(with = "time::micros_option", default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<DateTime<Utc>>,
    /// From acceptance to the end, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration_ms: Option<i64>,
}

/// A task.
#[derive(Clone, Debug, PartialEq)]
pub struct Task {
    /// Everything but input and answer.
    pub summary: TaskSummary,
    /// The input.
    pub payload: Payload,
    /// The answer of the newest attempt that was answered; the accepted one once the task is completed.
    pub result: Option<TaskResult>,
}

/// The row without payload and result.
#[derive(Clone, Debug, Queryable, Selectable)]
#[diesel(table_name = orchestrator_tasks, check_for_backend(diesel::pg::Pg))]
pub(super) struct SummaryRow {
    pub(super) task_id: Uuid,
    pub(super) capability: String,
    pub(super) priority: i32,
    pub(super) timeout_seconds: i32,
    pub(super) requested_by: String,
    pub(super) user_id: Option<String>,
    pub(super) trace_id: Uuid,
    pub(super) traceparent: Option<String>,
    status: String,
    pub(super) dispatched_to: Option<String>,
    dispatched_at: Option<DateTime<Utc>>,
    pub(super) score: Option<f64>,
    pub(super) attempts: i32,
    pub(super) max_attempts: i32,
    pub(super) tried_agents: Vec<String>,
    deadline_at: Option<DateTime<Utc>>,
    error: Option<Value>,
    usage: Option<Value>,
    pub(super) created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
    ended_at: Option<DateTime<Utc>>,
}

/// The row.
#[derive(Clone, Debug, Queryable, Selectable)]
#[diesel(table_name = orchestrator_tasks, check_for_backend(diesel::pg::Pg))]
pub(super) struct Row {
    #[diesel(embed)]
    pub(super) summary: SummaryRow,
    payload: Value,
    result: Option<Value>,
}

impl SummaryRow {
    pub(super) fn status(&self) -> TaskStatus {
        // The column's check knows the same names.
        TaskStatus::from_name(&self.status).unwrap_or(TaskStatus::Failed)
    }

    pub(super) fn trace(&self) -> TraceId {
        TraceId::from_uuid(self.trace_id)
    }

    pub(super) fn usage(&self) -> Usage {
        read(self.usage.as_ref()).unwrap_or_default()
    }

    pub(super) fn error(&self) -> Option<TaskError> {
        read(self.error.as_ref())
    }
}

impl Row {
    /// What the agent of `attempt` is sent: the same each time but for the attempt.
    pub(super) fn request(&self, attempt: i32) -> TaskRequest {
        let row = &self.summary;
        TaskRequest {
            id: row.task_id,
            capability: row.capability.clone(),
            payload: self.payload.as_object().cloned().unwrap_or_default(),
            priority: row.priority,
            timeout: row.timeout_seconds,
            requested_by: row.requested_by.clone(),
            created_at: row.created_at,
            trace_id: row.trace(),
            attempt,
            user_id: row.user_id.clone(),
        }
    }

    /// Whether the answer that was accepted to the same attempt of the same agent is another one than `answer`.
    pub(super) fn answered_otherwise(&self, answer: &TaskResult) -> bool {
        let same = |accepted: &TaskResult| (accepted.attempt, &accepted.agent_id) == (answer.attempt, &answer.agent_id);
        let accepted: Option<TaskResult> = read(self.result.as_ref()).filter(same);
        accepted.is_some_and(|accepted| accepted.result_hash != answer.result_hash)
    }
}

impl From<SummaryRow> for TaskSummary {
    fn from(row: SummaryRow) -> Self {
        Self {
            status: row.status(),
            trace_id: row.trace(),
            usage: row.usage(),
            error: row.error(),
            duration_ms: row.ended_at.map(|end| (end - row.created_at).num_milliseconds().max(0)),
            task_id: row.task_id,
            capability: row.capability,
            dispatched_to: row.dispatched_to,
            dispatched_at: row.dispatched_at,
            score: row.score,
            attempts: row.attempts,
            max_attempts: row.max_attempts,
            tried_agents: row.tried_agents,
            priority: row.priority,
            timeout: row.timeout_seconds,
            requested_by: row.requested_by,
            user_id: row.user_id,
            created_at: row.created_at,
            updated_at: row.updated_at,
            deadline_at: row.deadline_at,
            ended_at: row.ended_at,
        }
    }
}

impl From<Row> for Task {
    fn from(row: Row) -> Self {
        Self {
            result: read(row.result.as_ref()),
            payload: match row.payload {
                Value::Object(payload) => payload,
                _ => Payload::new(),
            },
            summary: row.summary.into(),
        }
    }
}

/// A value that another version wrote and this one cannot read is left out.
pub(super) fn read<T: DeserializeOwned>(value: Option<&Value>) -> Option<T> {
    T::deserialize(value?)
        .inspect_err(|error| tracing::error!(error = %error, "a value in the database cannot be read"))
        .ok()
}
