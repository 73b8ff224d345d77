//! What the units of work share: locked rows, and how an attempt and a task end.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use mesh_six_core::{
    ErrorType, Event,
    event::catalogue::{self, RejectReason, TaskEnd},
    id::new_id,
    names,
    task::{AttemptOutcome, TaskError, TaskRequest, TaskResult, TaskStatus},
};
use serde_json::{Value, json};
use uuid::Uuid;

use super::model::Row;
use crate::{
    clock::{self, delta},
    error::{DbError, DbResult},
    events::append_in,
    history,
    outbox::{self, Claimant, Outgoing},
    schema::{orchestrator_tasks as tasks, task_attempts as attempts},
};

/// What a unit of work did.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// What became of the task.
    pub verdict: Verdict,
    /// What the task asks for; empty for an unknown task.
    pub capability: String,
    /// How the attempt ended, if it ended now.
    pub outcome: Option<AttemptOutcome>,
    /// The attempt that failed, if another one is due.
    pub failed: Option<FailedAttempt>,
    /// Messages for the relay, claimed by the caller.
    pub outgoing: Vec<Outgoing>,
}

/// An attempt after which another one is due.
#[derive(Clone, Debug, PartialEq)]
pub struct FailedAttempt {
    /// Which one.
    pub attempt: i32,
    /// Whose.
    pub agent_id: Option<String>,
    /// Why it failed.
    pub error_type: ErrorType,
    /// When that was found out.
    pub at: DateTime<Utc>,
}

/// What became of the task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It has ended with an answer.
    Completed,
    /// It has ended without one.
    Failed,
    /// It has ended by its owner.
    Cancelled,
    /// Its attempt has ended; another one is due.
    Retry,
    /// An answer was not accepted.
    Rejected(RejectReason),
    /// Nothing: done before, or not due.
    Unchanged,
    /// There is no such task.
    Unknown,
}

impl Verdict {
    /// Whether the task ended just now.
    pub const fn is_end(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Cancelled)
    }
}

/// The row of an attempt.
#[derive(Clone, Debug, Queryable, Selectable)]
#[diesel(table_name = attempts, check_for_backend(diesel::pg::Pg))]
pub(super) struct AttemptRow {
    pub(super) attempt: i32,
    pub(super) agent_id: String,
    pub(super) dispatched_at: DateTime<Utc>,
    pub(super) deadline_at: DateTime<Utc>,
    pub(super) outcome: Option<String>,
}

/// A task whose row is locked, and all that this transaction does to it.
pub(super) struct Work {
    pub(super) row: Row,
    /// The database's time after the lock was had.
    pub(super) now: DateTime<Utc>,
    events: Vec<Event>,
    messages: Vec<Outgoing>,
    outcome: Option<AttemptOutcome>,
    failed: Option<FailedAttempt>,
}

impl Work {
    /// Locks `task`; `None` if there is none.
    pub(super) async fn lock(conn: &mut AsyncPgConnection, task: Uuid) -> DbResult<Option<Self>> {
        let row = tasks::table.find(task).for_no_key_update().select(Row::as_select()).first(conn).await.optional()?;
        let Some(row) = row else { return Ok(None) };
        let now = clock::now(conn).await?;
        Ok(Some(Self { row, now, events: Vec::new(), messages: Vec::new(), outcome: None, failed: None }))
    }

    /// Locks the row of `attempt`, which agents lock too before they write a result.
    pub(super) async fn lock_attempt(
        &self,
        conn: &mut AsyncPgConnection,
        attempt: i32,
    ) -> DbResult<Option<AttemptRow>> {
        Ok(attempts::table
            .find((self.id(), attempt))
            .for_no_key_update()
            .select(AttemptRow::as_select())
            .first(conn)
            .await
            .optional()?)
    }

    pub(super) fn id(&self) -> Uuid {
        self.row.summary.task_id
    }

    pub(super) fn is_final(&self) -> bool {
        self.row.summary.status().is_final()
    }

    pub(super) fn newest_request(&self) -> TaskRequest {
        self.row.request(self.row.summary.attempts)
    }

    /// An event for the log alone.
    pub(super) fn log(&mut self, event: Event) {
        self.events.push(event);
    }

    /// An event for the log and for `task-events`.
    pub(super) fn tell(&mut self, event: Event) -> DbResult<()> {
        let data = encoded(&event)?;
        let message = self.message(names::TASK_EVENTS.to_owned(), data, None);
        self.messages.push(message);
        self.events.push(event);
        Ok(())
    }

    /// The request of an attempt, for its agent.
    pub(super) fn send(&mut self, request: &TaskRequest, agent: &str) -> DbResult<()> {
        let message = self.message(names::task_topic(agent), encoded(request)?, Some(request.attempt));
        self.messages.push(message);
        Ok(())
    }

    fn message(&self, topic: String, data: Value, attempt: Option<i32>) -> Outgoing {
        let task = self.id();
        let traceparent = self.row.summary.traceparent.as_deref();
        outgoing(task, topic, data, attempt, traceparent, self.now)
    }

    /// Ends the open attempt: its row, its line of history, and its message if it is still to be sent.
    pub(super) async fn end_attempt(
        &mut self,
        conn: &mut AsyncPgConnection,
        attempt: &AttemptRow,
        outcome: AttemptOutcome,
        error: Option<ErrorType>,
        duration_ms: i64,
    ) -> DbResult<()> {
        self.close_attempt(conn, attempt.attempt, outcome).await?;
        let summary = &self.row.summary;
        let entry = history::NewEntry {
            task_id: summary.task_id,
            attempt: attempt.attempt,
            agent_id: &attempt.agent_id,
            capability: &summary.capability,
            success: outcome == AttemptOutcome::Success,
            duration_ms,
            error_type: error,
            context: json!({
                "priority": summary.priority, "score": summary.score, "traceId": summary.trace(),
            }),
        };
        history::record(conn, &entry).await
    }

    /// Ends the attempt's row without a line of history: nobody is to blame.
    pub(super) async fn close_attempt(
        &mut self,
        conn: &mut AsyncPgConnection,
        attempt: i32,
        outcome: AttemptOutcome,
    ) -> DbResult<()> {
        self.outcome = Some(outcome);
        diesel::update(attempts::table.find((self.id(), attempt)).filter(attempts::outcome.is_null()))
            .set((attempts::outcome.eq(outcome.as_str()), attempts::ended_at.eq(self.now)))
            .execute(conn)
            .await?;
        outbox::drop_attempt(conn, self.id(), attempt).await
    }

    /// After a failed attempt: another one at once, or the task's end.
    pub(super) async fn after_failure(
        &mut self,
        conn: &mut AsyncPgConnection,
        error: &TaskError,
        answer: Option<&TaskResult>,
    ) -> DbResult<Verdict> {
        let summary = &self.row.summary;
        let hopeless = matches!(error.error_type, ErrorType::Validation | ErrorType::Permission);
        if hopeless || summary.attempts >= summary.max_attempts {
            self.end(conn, TaskStatus::Failed, answer, Some(error)).await?;
            return Ok(Verdict::Failed);
        }
        diesel::update(tasks::table.find(self.id()))
            .set((
                tasks::status.eq(TaskStatus::Pending.as_str()),
                tasks::deadline_at.eq(Some(self.now)),
                tasks::error.eq(Some(encoded(error)?)),
                self.answer_columns(answer)?,
                unclaimed(),
                tasks::updated_at.eq(self.now),
            ))
            .execute(conn)
            .await?;
        let (attempt, agent_id) = (summary.attempts, summary.dispatched_to.clone());
        self.failed = Some(FailedAttempt { attempt, agent_id, error_type: error.error_type, at: self.now });
        Ok(Verdict::Retry)
    }

    /// Ends the task, once.
    pub(super) async fn end(
        &mut self,
        conn: &mut AsyncPgConnection,
        status: TaskStatus,
        answer: Option<&TaskResult>,
        error: Option<&TaskError>,
    ) -> DbResult<()> {
        let summary = &self.row.summary;
        let agent = answer.map(|a| a.agent_id.clone()).or_else(|| summary.dispatched_to.clone());
        let end = TaskEnd {
            attempts: summary.attempts,
            agent_id: agent.clone(),
            duration_ms: (self.now - summary.created_at).num_milliseconds().max(0),
            error_type: error.map(|e| e.error_type),
            result_hash: answer.map(|a| a.result_hash.clone()),
        };
        let event = catalogue::task_ended(self.id(), summary.trace(), status, &end).at(self.now);
        diesel::update(tasks::table.find(self.id()))
            .set((
                tasks::status.eq(status.as_str()),
                tasks::dispatched_to.eq(agent),
                tasks::deadline_at.eq(None::<DateTime<Utc>>),
                tasks::error.eq(error.map(encoded).transpose()?),
                self.answer_columns(answer)?,
                unclaimed(),
                tasks::updated_at.eq(self.now),
                tasks::ended_at.eq(Some(self.now)),
            ))
            .execute(conn)
            .await?;
        self.tell(event)
    }

    /// An answer's columns; without an answer they stay as they are.
    fn answer_columns(&self, answer: Option<&TaskResult>) -> DbResult<Option<AnswerColumns>> {
        let Some(answer) = answer else { return Ok(None) };
        let mut usage = self.row.summary.usage();
        usage += answer.usage;
        Ok(Some((
            tasks::result.eq(Some(encoded(answer)?)),
            tasks::result_hash.eq(Some(answer.result_hash.clone())),
            tasks::usage.eq(Some(encoded(&usage)?)),
        )))
    }

    /// Writes events and messages; the last step of the transaction.
    pub(super) async fn finish(
        self,
        conn: &mut AsyncPgConnection,
        verdict: Verdict,
        claimant: Claimant,
    ) -> DbResult<Change> {
        if !self.events.is_empty() {
            append_in(conn, &self.events).await?;
        }
        if !self.messages.is_empty() {
            outbox::put(conn, &self.messages, claimant).await?;
        }
        let Self { row, outcome, failed, messages: outgoing, .. } = self;
        Ok(Change { verdict, capability: row.summary.capability, outcome, failed, outgoing })
    }
}

impl Change {
    /// Of a task that is not there.
    pub(super) fn unknown() -> Self {
        Self { verdict: Verdict::Unknown, capability: String::new(), outcome: None, failed: None, outgoing: Vec::new() }
    }
}

type AnswerColumns = (
    diesel::dsl::Eq<tasks::result, Option<Value>>,
    diesel::dsl::Eq<tasks::result_hash, Option<String>>,
    diesel::dsl::Eq<tasks::usage, Option<Value>>,
);

type Unclaimed =
    (diesel::dsl::Eq<tasks::claimed_by, Option<Uuid>>, diesel::dsl::Eq<tasks::lease_until, Option<DateTime<Utc>>>);

/// Nobody has claimed the task.
pub(super) fn unclaimed() -> Unclaimed {
    (tasks::claimed_by.eq(None), tasks::lease_until.eq(None))
}

/// A message about a task, written now.
pub(super) fn outgoing(
    task: Uuid,
    topic: String,
    data: Value,
    attempt: Option<i32>,
    traceparent: Option<&str>,
    now: DateTime<Utc>,
) -> Outgoing {
    Outgoing {
        id: new_id(),
        topic,
        key: format!("task:{task}"),
        data,
        traceparent: traceparent.map(str::to_owned),
        task_id: Some(task),
        attempt,
        letter_id: None,
        created_at: now,
        tries: 0,
    }
}

/// As JSON for a column or a message.
pub(super) fn encoded<T: serde::Serialize>(value: &T) -> DbResult<Value> {
    serde_json::to_value(value)
        .map_err(|e| DbError::Refused(mesh_six_core::ApiError::unhandled(format!("not to be written as JSON: {e}"))))
}

/// When an attempt that begins at `now` ends.
pub(super) fn deadline(now: DateTime<Utc>, timeout_seconds: i32) -> DateTime<Utc> {
    let timeout = std::time::Duration::from_secs(u64::try_from(timeout_seconds).unwrap_or(0));
    now.checked_add_signed(delta(timeout)).unwrap_or(DateTime::<Utc>::MAX_UTC)
}
