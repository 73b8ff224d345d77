//! The next attempt of a task whose last one failed.

use std::time::Duration;

use diesel::{prelude::*, sql_query, sql_types};
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl};
use mesh_six_core::{
    ErrorType,
    event::catalogue,
    task::{TaskError, TaskStatus},
};
use uuid::Uuid;

use super::{
    change::{Change, Verdict, Work, deadline, unclaimed},
    model::Assignment,
};
use crate::{
    clock::millis,
    error::{DbError, DbResult},
    outbox::{Claimant, Outgoing},
    schema::{orchestrator_tasks as tasks, task_attempts as attempts},
};

/// Locks `task` if it still waits for the attempt after `attempts_before`.
async fn waiting(conn: &mut AsyncPgConnection, task: Uuid, attempts_before: i32) -> DbResult<Option<Work>> {
    let work = Work::lock(conn, task).await?;
    Ok(work.filter(|w| w.row.summary.status() == TaskStatus::Pending && w.row.summary.attempts == attempts_before))
}

/// Begins the attempt after `attempts_before` with `to`: the same payload, priority and timeout. `None` if
/// somebody else did, or the task has ended.
pub async fn redispatch(
    conn: &mut AsyncPgConnection,
    task: Uuid,
    attempts_before: i32,
    to: &Assignment,
    claimant: Claimant,
) -> DbResult<Option<Vec<Outgoing>>> {
    conn.transaction::<_, DbError, _>(async |conn| {
        let Some(mut work) = waiting(conn, task, attempts_before).await? else { return Ok(None) };
        let attempt = attempts_before + 1;
        let (now, summary) = (work.now, &work.row.summary);
        if attempt > summary.max_attempts {
            return Ok(None);
        }
        let until = deadline(now, summary.timeout_seconds);
        let mut tried = summary.tried_agents.clone();
        tried.push(to.agent.clone());
        diesel::insert_into(attempts::table)
            .values((
                attempts::task_id.eq(task),
                attempts::attempt.eq(attempt),
                attempts::agent_id.eq(&to.agent),
                attempts::dispatched_at.eq(now),
                attempts::deadline_at.eq(until),
            ))
            .execute(conn)
            .await?;
        diesel::update(tasks::table.find(task))
            .set((
                tasks::status.eq(TaskStatus::Dispatched.as_str()),
                tasks::dispatched_to.eq(Some(&to.agent)),
                tasks::dispatched_at.eq(Some(now)),
                tasks::score.eq(Some(to.score)),
                tasks::attempts.eq(attempt),
                tasks::tried_agents.eq(tried),
                tasks::deadline_at.eq(Some(until)),
                unclaimed(),
                tasks::updated_at.eq(now),
            ))
            .execute(conn)
            .await?;
        let previous = summary.dispatched_to.clone().unwrap_or_default();
        let reason = summary.error().map_or(ErrorType::Unknown, |e| e.error_type);
        let request = work.row.request(attempt);
        work.send(&request, &to.agent)?;
        work.tell(catalogue::task_retry(&request, &previous, &to.agent, reason).at(now))?;
        work.tell(catalogue::task_dispatched(&request, &to.agent, &to.scores, now))?;
        Ok(Some(work.finish(conn, Verdict::Unchanged, claimant).await?.outgoing))
    })
    .await
}

/// Nobody can take the task now: it is due again after `delay`, for any orchestrator.
pub async fn postpone(conn: &mut AsyncPgConnection, task: Uuid, attempts_before: i32, delay: Duration) -> DbResult<()> {
    sql_query(
        "UPDATE orchestrator_tasks SET deadline_at = now() + $3 * interval '1 ms', claimed_by = NULL, lease_until = NULL
        WHERE task_id = $1 AND status = 'pending' AND attempts = $2",
    )
    .bind::<sql_types::Uuid, _>(task)
    .bind::<sql_types::Integer, _>(attempts_before)
    .bind::<sql_types::BigInt, _>(millis(delay))
    .execute(conn)
    .await?;
    Ok(())
}

/// There will be no further attempt: the task has failed for the reason of its last one.
pub async fn give_up(
    conn: &mut AsyncPgConnection,
    task: Uuid,
    attempts_before: i32,
    claimant: Claimant,
) -> DbResult<Change> {
    conn.transaction::<_, DbError, _>(async |conn| {
        let Some(mut work) = waiting(conn, task, attempts_before).await? else { return Ok(Change::unknown()) };
        let unexplained =
            || TaskError { error_type: ErrorType::NoAgent, message: "no agent can take the task".to_owned() };
        let error = work.row.summary.error().unwrap_or_else(unexplained);
        work.end(conn, TaskStatus::Failed, None, Some(&error)).await?;
        work.finish(conn, Verdict::Failed, claimant).await
    })
    .await
}
