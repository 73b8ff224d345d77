//! Which tasks want something done at a time: attempts whose deadline has passed, tasks that wait for their
//! next attempt.

use std::time::Duration;

use diesel::{prelude::*, sql_query, sql_types};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use uuid::Uuid;

use super::{
    GRACE,
    model::{SummaryRow, TaskSummary},
};
use crate::{clock::millis, error::DbResult, outbox::Claimant, schema::orchestrator_tasks as tasks};

/// A task that is due, claimed by the caller.
#[derive(Clone, Debug, PartialEq)]
pub struct Due {
    /// The task: dispatched if its attempt is over, pending if it wants another one.
    pub task: TaskSummary,
    /// How long ago its newest attempt ended, if it has.
    pub rested: Duration,
}

#[derive(QueryableByName)]
struct DueRow {
    #[diesel(sql_type = sql_types::Uuid)]
    task_id: Uuid,
    #[diesel(sql_type = sql_types::BigInt)]
    rested_ms: i64,
}

/// Gives `claimant` up to `limit` tasks that are due and nobody's, the longest due first.
pub async fn claim_due(conn: &mut AsyncPgConnection, claimant: Claimant, limit: i64) -> DbResult<Vec<Due>> {
    let rows: Vec<DueRow> = sql_query(
        "UPDATE orchestrator_tasks t SET claimed_by = $1, lease_until = now() + $2 * interval '1 ms'
        FROM (
            SELECT task_id FROM orchestrator_tasks
            WHERE status IN ('pending', 'dispatched') AND deadline_at <= now()
                AND (status = 'pending' OR deadline_at <= now() - $3 * interval '1 ms')
                AND (lease_until IS NULL OR lease_until < now())
            ORDER BY deadline_at LIMIT $4 FOR NO KEY UPDATE SKIP LOCKED
        ) AS due
        WHERE t.task_id = due.task_id
        RETURNING t.task_id, coalesce((
            SELECT extract(epoch FROM clock_timestamp() - a.ended_at) * 1000 FROM task_attempts a
            WHERE a.task_id = t.task_id AND a.attempt = t.attempts
        ), 0)::bigint AS rested_ms",
    )
    .bind::<sql_types::Uuid, _>(claimant.id)
    .bind::<sql_types::BigInt, _>(millis(claimant.lease))
    .bind::<sql_types::BigInt, _>(millis(GRACE))
    .bind::<sql_types::BigInt, _>(limit)
    .load(conn)
    .await?;
    if rows.is_empty() {
        return Ok(Vec::new());
    }
    let ids: Vec<Uuid> = rows.iter().map(|row| row.task_id).collect();
    let found: Vec<SummaryRow> = tasks::table
        .filter(tasks::task_id.eq_any(ids))
        .order(tasks::deadline_at.asc())
        .select(SummaryRow::as_select())
        .load(conn)
        .await?;
    let rested = |id| rows.iter().find(|row| row.task_id == id).map_or(0, |row| row.rested_ms);
    Ok(found
        .into_iter()
        .map(|row| {
            let rested = Duration::from_millis(u64::try_from(rested(row.task_id)).unwrap_or(0));
            Due { task: row.into(), rested }
        })
        .collect())
}

/// How long until a task is due that nobody has claimed; zero if one is due now, `None` if none will be.
pub async fn next_due(conn: &mut AsyncPgConnection) -> DbResult<Option<Duration>> {
    #[derive(QueryableByName)]
    struct Next {
        #[diesel(sql_type = sql_types::Nullable<sql_types::BigInt>)]
        wait_ms: Option<i64>,
    }
    let next: Next = sql_query(
        "SELECT ceil(extract(epoch FROM least(
            (SELECT deadline_at FROM orchestrator_tasks
                WHERE status = 'pending' AND (lease_until IS NULL OR lease_until < now())
                ORDER BY deadline_at LIMIT 1),
            (SELECT deadline_at + $1 * interval '1 ms' FROM orchestrator_tasks
                WHERE status = 'dispatched' AND (lease_until IS NULL OR lease_until < now())
                ORDER BY deadline_at LIMIT 1)
        ) - clock_timestamp()) * 1000)::bigint AS wait_ms",
    )
    .bind::<sql_types::BigInt, _>(millis(GRACE))
    .get_result(conn)
    .await?;
    Ok(next.wait_ms.map(|ms| Duration::from_millis(u64::try_from(ms).unwrap_or(0))))
}
