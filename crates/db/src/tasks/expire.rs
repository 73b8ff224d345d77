//! Attempts that end without an answer: in time, with their process, or because they cannot be sent.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl};
use mesh_six_core::{
    ErrorType,
    event::catalogue,
    names::ORCHESTRATOR,
    task::{AttemptOutcome, TaskError},
};
use uuid::Uuid;

use super::{
    GRACE,
    accept::{Stored, settle, stored},
    change::{AttemptRow, Change, Verdict, Work},
};
use crate::{
    clock::delta,
    error::{DbError, DbResult},
    inbox::InboxKey,
    outbox::{self, Claimant, Outgoing},
    schema::agent_inbox as inbox,
};

/// Why an attempt is given up before its deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lost {
    /// The process that worked on it no longer renews its lease.
    Process,
    /// Its request can never be delivered.
    Undeliverable,
}

/// Ends attempt `attempt` of `task` if its deadline and [`GRACE`] have passed. An answer that the inbox holds
/// by then is accepted as if it had arrived.
pub async fn expire(conn: &mut AsyncPgConnection, task: Uuid, attempt: i32, claimant: Claimant) -> DbResult<Change> {
    conn.transaction::<_, DbError, _>(async |conn| {
        let Some((mut work, attempt)) = open(conn, task, attempt).await? else { return Ok(Change::unknown()) };
        let due = attempt.deadline_at.checked_add_signed(delta(GRACE)).is_some_and(|due| due <= work.now);
        let verdict = match attempt.outcome {
            None if due && !work.is_final() => unanswered(conn, &mut work, &attempt, ErrorType::Timeout).await?,
            _ => Verdict::Unchanged,
        };
        work.finish(conn, verdict, claimant).await
    })
    .await
}

/// Ends the open attempt that `key` names because its process died, unless its lease was renewed meanwhile.
/// Only for callers that have seen the database up for a full lease period.
pub async fn lost(conn: &mut AsyncPgConnection, key: &InboxKey, claimant: Claimant) -> DbResult<Change> {
    conn.transaction::<_, DbError, _>(async |conn| {
        let Some((mut work, attempt)) = open(conn, key.task_id, key.attempt).await? else {
            return Ok(Change::unknown());
        };
        let gone = attempt.outcome.is_none() && !work.is_final() && lease_over(conn, key, work.now).await?;
        let verdict = if gone {
            unanswered(conn, &mut work, &attempt, ErrorType::Unavailable).await?
        } else {
            Verdict::Unchanged
        };
        work.finish(conn, verdict, claimant).await
    })
    .await
}

/// `message` can never be published: it becomes a dead letter with `envelope`, and if it is the request of an open attempt,
/// that attempt ends.
pub async fn undeliverable(
    conn: &mut AsyncPgConnection,
    message: &Outgoing,
    envelope: Vec<u8>,
    why: &str,
    claimant: Claimant,
) -> DbResult<Change> {
    conn.transaction::<_, DbError, _>(async |conn| {
        let found = match (message.task_id, message.attempt) {
            (Some(task), Some(attempt)) => open(conn, task, attempt).await?,
            _ => None,
        };
        outbox::bury(conn, message, ORCHESTRATOR, envelope, why).await?;
        let Some((mut work, attempt)) = found else { return Ok(Change::unknown()) };
        let verdict = match attempt.outcome {
            None if !work.is_final() => unanswered(conn, &mut work, &attempt, ErrorType::Unavailable).await?,
            _ => Verdict::Unchanged,
        };
        work.finish(conn, verdict, claimant).await
    })
    .await
}

async fn open(conn: &mut AsyncPgConnection, task: Uuid, attempt: i32) -> DbResult<Option<(Work, AttemptRow)>> {
    let Some(work) = Work::lock(conn, task).await? else { return Ok(None) };
    let attempt = work.lock_attempt(conn, attempt).await?;
    Ok(attempt.map(|attempt| (work, attempt)))
}

async fn lease_over(conn: &mut AsyncPgConnection, key: &InboxKey, now: DateTime<Utc>) -> DbResult<bool> {
    let over = inbox::table
        .find((key.task_id, key.attempt, &key.agent_id))
        .filter(inbox::state.eq("running"))
        .filter(inbox::lease_until.lt(now));
    Ok(diesel::select(diesel::dsl::exists(over)).get_result(conn).await?)
}

/// The open attempt ends with what the inbox holds, else for `reason`.
async fn unanswered(
    conn: &mut AsyncPgConnection,
    work: &mut Work,
    attempt: &AttemptRow,
    reason: ErrorType,
) -> DbResult<Verdict> {
    let key = InboxKey { task_id: work.id(), attempt: attempt.attempt, agent_id: attempt.agent_id.clone() };
    if let Stored::Answer(answer) = stored(conn, &key).await? {
        return settle(conn, work, &key, Some(attempt), &answer).await;
    }
    let (outcome, message) = match reason {
        ErrorType::Timeout => {
            let seconds = work.row.summary.timeout_seconds;
            (AttemptOutcome::Timeout, format!("{} did not answer within {seconds} s", attempt.agent_id))
        }
        _ => {
            (AttemptOutcome::Unavailable, format!("{} was lost while it worked, or was not reached", attempt.agent_id))
        }
    };
    let worked = (work.now - attempt.dispatched_at).num_milliseconds();
    work.end_attempt(conn, attempt, outcome, Some(reason), worked).await?;
    let event = catalogue::task_timeout(&work.newest_request(), attempt.attempt, &attempt.agent_id, reason);
    work.tell(event.at(work.now))?;
    work.after_failure(conn, &TaskError { error_type: reason, message }, None).await
}
