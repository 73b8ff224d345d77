//! Taking an answer over, once.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl};
use mesh_six_core::{
    ErrorType,
    event::catalogue::{self, RejectReason},
    task::{AttemptOutcome, TaskError, TaskResult, TaskStatus},
};
use serde_json::Value;

use super::{
    change::{AttemptRow, Change, Verdict, Work},
    judge::{Case, Ruling, rule},
    model::read,
};
use crate::{
    clock,
    error::{DbError, DbResult},
    inbox::InboxKey,
    outbox::Claimant,
    schema::agent_inbox as inbox,
};

/// What the inbox holds of an attempt.
#[derive(Clone, Debug, Queryable, Selectable)]
#[diesel(table_name = inbox, check_for_backend(diesel::pg::Pg))]
struct InboxRow {
    result: Option<Value>,
    result_hash: Option<String>,
    taken_at: Option<DateTime<Utc>>,
}

/// An answer that somebody stands behind.
pub(super) struct Answer {
    result: TaskResult,
    /// The inbox holds it, not only a message.
    confirmed: bool,
    taken: bool,
}

/// Takes over the answer to the attempt that `key` names. The inbox decides; `message` only wakes us up. It is
/// believed by itself only if there is no inbox row and `believe`, which is for agents without a database, and
/// then only from the agent that was asked.
pub async fn accept(
    conn: &mut AsyncPgConnection,
    key: &InboxKey,
    message: Option<&TaskResult>,
    believe: bool,
    claimant: Claimant,
) -> DbResult<Change> {
    conn.transaction::<_, DbError, _>(async |conn| {
        let Some(mut work) = Work::lock(conn, key.task_id).await? else {
            mark_taken(conn, key).await?;
            return Ok(Change::unknown());
        };
        let attempt = work.lock_attempt(conn, key.attempt).await?;
        let asked = attempt.as_ref().is_some_and(|a| a.agent_id == key.agent_id);
        let answer = match (stored(conn, key).await?, message) {
            (Stored::Answer(answer), None) => *answer,
            (Stored::Answer(answer), Some(m)) if answer.result.result_hash == m.result_hash => *answer,
            (Stored::Nothing, Some(m)) if (believe || !asked) && m.result_ref.is_none() => unconfirmed(m, &work),
            (_, Some(m)) => {
                let event = catalogue::task_result_rejected(m, work.row.summary.trace(), RejectReason::Forged);
                work.log(event.at(work.now));
                return work.finish(conn, Verdict::Rejected(RejectReason::Forged), claimant).await;
            }
            (Stored::Unreadable | Stored::Unanswered | Stored::Nothing, None) => {
                mark_taken(conn, key).await?;
                return work.finish(conn, Verdict::Unchanged, claimant).await;
            }
        };
        let verdict = settle(conn, &mut work, key, attempt.as_ref(), &answer).await?;
        work.finish(conn, verdict, claimant).await
    })
    .await
}

/// What the inbox has for `key`.
pub(super) enum Stored {
    Answer(Box<Answer>),
    Unreadable,
    Unanswered,
    Nothing,
}

pub(super) async fn stored(conn: &mut AsyncPgConnection, key: &InboxKey) -> DbResult<Stored> {
    let row: Option<InboxRow> = inbox::table
        .find((key.task_id, key.attempt, &key.agent_id))
        .select(InboxRow::as_select())
        .first(conn)
        .await
        .optional()?;
    Ok(match row {
        None => Stored::Nothing,
        Some(InboxRow { result: None, .. } | InboxRow { result_hash: None, .. }) => Stored::Unanswered,
        Some(row) => match read::<TaskResult>(row.result.as_ref()) {
            Some(result) => Stored::Answer(Box::new(Answer { result, confirmed: true, taken: row.taken_at.is_some() })),
            None => Stored::Unreadable,
        },
    })
}

fn unconfirmed(message: &TaskResult, work: &Work) -> Answer {
    let mut result = message.clone();
    // The trace and the capability are the task's, whatever the message says.
    result.trace_id = work.row.summary.trace();
    result.capability.clone_from(&work.row.summary.capability);
    Answer { result, confirmed: false, taken: false }
}

/// Rules on `answer` and does what the ruling says.
pub(super) async fn settle(
    conn: &mut AsyncPgConnection,
    work: &mut Work,
    key: &InboxKey,
    attempt: Option<&AttemptRow>,
    answer: &Answer,
) -> DbResult<Verdict> {
    let result = &answer.result;
    // The inbox holds one answer for good; a message may say one thing now and another then.
    let differs = !answer.confirmed && work.row.answered_otherwise(result);
    let ruling = rule(Case {
        task: work.row.summary.status(),
        attempt: attempt.map(|a| (a.agent_id.as_str(), a.outcome.as_deref())),
        agent: &key.agent_id,
        success: result.success,
        taken: answer.taken,
        differs,
    });
    if answer.confirmed && !answer.taken {
        mark_taken(conn, key).await?;
    }
    let counts = matches!(ruling, Ruling::Take | Ruling::TakeLate);
    if counts && !answer.confirmed {
        // Nobody else writes this fact with a transaction, and the passive path writes the same key.
        work.log(catalogue::task_result(result, false));
    }
    match (ruling, attempt) {
        (Ruling::Take, Some(attempt)) => take(conn, work, attempt, result).await,
        (Ruling::TakeLate, _) => {
            // The attempt that runs instead has become pointless, through no fault of its agent.
            let newest = work.row.summary.attempts;
            if work.row.summary.status() == TaskStatus::Dispatched {
                work.close_attempt(conn, newest, AttemptOutcome::Cancelled).await?;
            }
            work.end(conn, TaskStatus::Completed, Some(result), None).await?;
            Ok(Verdict::Completed)
        }
        (Ruling::Reject(reason), _) => {
            work.log(catalogue::task_result_rejected(result, work.row.summary.trace(), reason).at(work.now));
            Ok(Verdict::Rejected(reason))
        }
        (Ruling::Duplicate | Ruling::Take, _) => Ok(Verdict::Unchanged),
    }
}

async fn take(
    conn: &mut AsyncPgConnection,
    work: &mut Work,
    attempt: &AttemptRow,
    result: &TaskResult,
) -> DbResult<Verdict> {
    if result.success {
        work.end_attempt(conn, attempt, AttemptOutcome::Success, None, result.duration_ms).await?;
        work.end(conn, TaskStatus::Completed, Some(result), None).await?;
        return Ok(Verdict::Completed);
    }
    let unexplained = || TaskError { error_type: ErrorType::Unhandled, message: "no reason was given".to_owned() };
    let error = result.error.clone().unwrap_or_else(unexplained);
    let outcome = match error.error_type {
        // What an agent says that gives up because its process is told to end.
        ErrorType::Unavailable => AttemptOutcome::Unavailable,
        _ => AttemptOutcome::Failed,
    };
    work.end_attempt(conn, attempt, outcome, Some(error.error_type), result.duration_ms).await?;
    work.after_failure(conn, &error, Some(result)).await
}

async fn mark_taken(conn: &mut AsyncPgConnection, key: &InboxKey) -> DbResult<()> {
    diesel::update(inbox::table.find((key.task_id, key.attempt, &key.agent_id)).filter(inbox::taken_at.is_null()))
        .set(inbox::taken_at.eq(clock::clock_timestamp().nullable()))
        .execute(conn)
        .await?;
    Ok(())
}

/// An answer that nobody has taken over yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Untaken {
    /// Which one.
    pub key: InboxKey,
    /// The span that made it, if it was made in a trace.
    pub traceparent: Option<String>,
}

/// Answers that nobody has taken over yet, oldest first: those whose message was lost.
pub async fn untaken(conn: &mut AsyncPgConnection, limit: i64) -> DbResult<Vec<Untaken>> {
    let rows: Vec<(uuid::Uuid, i32, String, Option<String>)> = inbox::table
        .filter(inbox::result.is_not_null())
        .filter(inbox::taken_at.is_null())
        .order(inbox::finished_at.asc())
        .limit(limit)
        .select((inbox::task_id, inbox::attempt, inbox::agent_id, inbox::traceparent))
        .load(conn)
        .await?;
    let untaken = rows.into_iter().map(|(task_id, attempt, agent_id, traceparent)| Untaken {
        key: InboxKey { task_id, attempt, agent_id },
        traceparent,
    });
    Ok(untaken.collect())
}
