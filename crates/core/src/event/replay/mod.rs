//! What a task's events add up to (core.md §8, events.md §6): one pure reducer.

mod attempt;
mod seen;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

pub use self::attempt::AttemptState;
use self::{attempt::Answer, seen::Seen};
use super::{Event, StoredEvent, catalogue, read};
use crate::{ErrorType, TraceId, Usage, task::TaskStatus, time};

/// Attempts with a higher number are not believed, so that a forged event cannot fill the memory.
const MAX_ATTEMPT: i64 = 16;

/// Model requests by their events.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema, schemars::JsonSchema,
)]
#[serde(rename_all = "camelCase", default)]
pub struct LlmCalls {
    /// Requests made (`llm.call`).
    pub calls: u64,
    /// Answers and errors (`llm.response`).
    pub responses: u64,
    /// Errors among them.
    pub errors: u64,
}

/// Tool calls by their events.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema, schemars::JsonSchema,
)]
#[serde(rename_all = "camelCase", default)]
pub struct ToolCalls {
    /// Calls made (`tool.invocation`).
    pub calls: u64,
    /// Answers and errors (`tool.result`).
    pub results: u64,
    /// Errors among them.
    pub errors: u64,
}

/// A task as its events tell it.
///
/// Events may come in any order, twice, or late: facts are collected and the state is worked out from them, so
/// that any order of one story gives the same state. Once the task has ended, its status, error and result
/// stay. A state read back from JSON is for showing; to go on, fold the events anew.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TaskState {
    /// The task, once an event named it. Events of other tasks are ignored.
    pub task_id: Option<Uuid>,
    /// Its W3C trace id.
    #[schema(value_type = Option<String>)]
    pub trace_id: Option<TraceId>,
    /// Where it stands; absent while only calls and notes are known.
    pub status: Option<TaskStatus>,
    /// What is asked for.
    pub capability: Option<String>,
    /// 0 to 10.
    pub priority: Option<i32>,
    /// The agent of the newest attempt; after the end, who answered last.
    pub agent_id: Option<String>,
    /// The newest attempt, 0 before the first.
    pub attempt: i32,
    /// All attempts, first to last.
    pub attempts: Vec<AttemptState>,
    /// Model requests.
    pub llm: LlmCalls,
    /// Tool calls.
    pub tools: ToolCalls,
    /// Tokens and cost of the model requests.
    pub usage: Usage,
    /// Progress notes.
    pub progress: u64,
    /// Answers that were not accepted.
    pub rejected_results: u64,
    /// Hash of the accepted answer.
    pub result_hash: Option<String>,
    /// Why the task failed, if it did.
    pub error_type: Option<ErrorType>,
    /// When the task was accepted.
    #[serde(with = "time::micros_option", default)]
    #[schemars(with = "Option<DateTime<Utc>>")]
    pub submitted_at: Option<DateTime<Utc>>,
    /// When it ended.
    #[serde(with = "time::micros_option", default)]
    #[schemars(with = "Option<DateTime<Utc>>")]
    pub ended_at: Option<DateTime<Utc>>,
    /// From acceptance to the end, in milliseconds.
    pub duration_ms: Option<i64>,
    /// Events that were taken into account; duplicates are not.
    pub events: u64,
    #[serde(skip)]
    end: Option<End>,
    #[serde(skip)]
    seen: Seen,
}

/// The end of a task.
#[derive(Clone, Debug, PartialEq)]
struct End {
    status: TaskStatus,
    at: DateTime<Utc>,
    agent: Option<String>,
    error: Option<ErrorType>,
    hash: Option<String>,
    duration_ms: Option<i64>,
}

impl End {
    fn reason(&self) -> ErrorType {
        self.error.unwrap_or(ErrorType::Unknown)
    }
}

impl TaskState {
    /// The state after all of `events`.
    pub fn fold<'a>(events: impl IntoIterator<Item = &'a StoredEvent>) -> Self {
        let mut state = Self::default();
        for event in events {
            state.apply(event);
        }
        state
    }

    /// Takes `event` into account, unless it is of another task or was there before.
    pub fn apply(&mut self, event: &StoredEvent) {
        let task = event.event.task_id.or_else(|| {
            let aggregate = event.event.aggregate_id.as_deref()?;
            Uuid::try_parse(aggregate.strip_prefix("task:")?).ok()
        });
        if task.is_none() || self.task_id.is_some_and(|t| Some(t) != task) || !self.seen.first_time(&event.event) {
            return;
        }
        self.task_id = task;
        self.trace_id.get_or_insert(event.event.trace_id);
        self.events += 1;
        self.collect(&event.event);
        self.settle();
    }

    fn collect(&mut self, event: &Event) {
        let at = event.occurred_at;
        match event.event_type.as_str() {
            catalogue::TASK_SUBMITTED => {
                self.submitted_at.get_or_insert(at);
                self.describe(event);
            }
            catalogue::TASK_DISPATCHED => {
                self.describe(event);
                if let (Some(agent), Some(attempt)) = (read::text(event, "targetAgent"), self.attempt_of(event, 0)) {
                    attempt.dispatched(&agent, at);
                }
            }
            catalogue::TASK_RESULT => {
                let answer = Answer {
                    success: read::flag(event, "success").unwrap_or(false),
                    at,
                    duration_ms: read::integer(event, "durationMs"),
                    error_type: read::error_type(event, "errorType"),
                    hash: read::text(event, "resultHash"),
                };
                if let Some(attempt) = self.attempt_of(event, 0) {
                    attempt.answered(&event.agent_id, answer);
                }
            }
            catalogue::TASK_TIMEOUT => {
                let reason = read::error_type(event, "reason").unwrap_or(ErrorType::Timeout);
                if let Some(attempt) = self.attempt_of(event, 0) {
                    attempt.timed_out(reason, at);
                }
            }
            catalogue::TASK_RETRY => {
                let reason = read::error_type(event, "reason").unwrap_or(ErrorType::Unknown);
                if let Some(attempt) = self.attempt_of(event, -1) {
                    attempt.retried(reason, at);
                }
            }
            catalogue::TASK_COMPLETED => self.end(TaskStatus::Completed, event),
            catalogue::TASK_FAILED => self.end(TaskStatus::Failed, event),
            catalogue::TASK_CANCELLED => self.end(TaskStatus::Cancelled, event),
            catalogue::TASK_RESULT_REJECTED => self.rejected_results += 1,
            catalogue::TASK_PROGRESS => self.progress += 1,
            catalogue::LLM_CALL => self.llm.calls += 1,
            catalogue::LLM_RESPONSE => {
                let failed =
                    read::present(event, "error") || read::text(event, "finishReason").as_deref() == Some("error");
                self.llm.responses += 1;
                self.llm.errors += u64::from(failed);
                self.usage += read::usage(event);
            }
            catalogue::TOOL_INVOCATION => self.tools.calls += 1,
            catalogue::TOOL_RESULT => {
                self.tools.results += 1;
                self.tools.errors += u64::from(read::flag(event, "success") == Some(false));
            }
            _ => {}
        }
    }

    fn describe(&mut self, event: &Event) {
        if self.capability.is_none() {
            self.capability = read::text(event, "capability");
        }
        if self.priority.is_none() {
            self.priority = read::integer(event, "priority").and_then(|p| i32::try_from(p).ok());
        }
    }

    fn end(&mut self, status: TaskStatus, event: &Event) {
        self.end.get_or_insert_with(|| End {
            status,
            at: event.occurred_at,
            agent: read::text(event, "agentId"),
            error: read::error_type(event, "errorType"),
            hash: read::text(event, "resultHash"),
            duration_ms: read::integer(event, "durationMs"),
        });
    }

    /// The attempt that the payload names, or one `offset` from it; made if it is not there yet.
    fn attempt_of(&mut self, event: &Event, offset: i64) -> Option<&mut AttemptState> {
        let number = read::integer(event, "attempt")?.checked_add(offset)?;
        if !(1..=MAX_ATTEMPT).contains(&number) {
            return None;
        }
        let number = i32::try_from(number).ok()?;
        let index = match self.attempts.binary_search_by_key(&number, |a| a.attempt) {
            Ok(index) => index,
            Err(index) => {
                self.attempts.insert(index, AttemptState::new(number));
                index
            }
        };
        self.attempts.get_mut(index)
    }

    /// Works out the state from the facts.
    fn settle(&mut self) {
        for attempt in &mut self.attempts {
            attempt.settle(self.end.as_ref());
        }
        let newest = self.attempts.last();
        self.attempt = newest.map_or(0, |a| a.attempt);
        self.agent_id = newest.and_then(|a| a.agent_id.clone());
        self.status = match newest {
            Some(attempt) if attempt.is_open() => Some(TaskStatus::Dispatched),
            None if self.submitted_at.is_none() => None,
            _ => Some(TaskStatus::Pending),
        };
        if let Some(end) = &self.end {
            self.status = Some(end.status);
            self.ended_at = Some(end.at);
            self.duration_ms = end.duration_ms;
            self.error_type = end.error;
            self.result_hash = end.hash.clone().filter(|_| end.status == TaskStatus::Completed);
            self.agent_id = end.agent.clone().or_else(|| self.agent_id.take());
        }
    }
}
