//! Working on a row: claim, renew, finish.

use std::time::Duration;

use chrono::{DateTime, Utc};
use diesel::{QueryableByName, sql_types};
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl};
use mesh_six_core::{Event, event::catalogue, task::TaskResult};
use serde_json::Value;
use uuid::Uuid;

use super::{Claim, Finished, InboxKey, Renewed, count, json, millis, readable};
use crate::{
    error::{DbError, DbResult},
    events::append_in,
    statement::{JsonText, Statement, Value as Put},
};

#[derive(QueryableByName)]
struct ClaimRow {
    #[diesel(sql_type = sql_types::Jsonb)]
    request: Value,
    #[diesel(sql_type = sql_types::BigInt)]
    remaining_ms: i64,
    #[diesel(sql_type = sql_types::Timestamptz)]
    created_at: DateTime<Utc>,
    #[diesel(sql_type = sql_types::Nullable<sql_types::Text>)]
    traceparent: Option<String>,
}

/// Gives `owner` up to `limit` queued requests of `agent`, the most urgent first, then the oldest. Requests
/// whose attempt has ended or whose deadline has passed are left for [`prune`].
pub async fn claim(
    conn: &mut AsyncPgConnection,
    agent: &str,
    owner: Uuid,
    limit: usize,
    lease: Duration,
) -> DbResult<Vec<Claim>> {
    let rows: Vec<ClaimRow> = Statement::named(
        "UPDATE agent_inbox SET state = 'running', claimed_by = $2, lease_until = now() + $4 * interval '1 ms'
        FROM (
            SELECT i.task_id, i.attempt, i.agent_id FROM agent_inbox i
            WHERE i.agent_id = $1 AND i.state = 'queued' AND i.deadline_at > now() AND EXISTS (
                SELECT FROM task_attempts a
                WHERE a.task_id = i.task_id AND a.attempt = i.attempt AND a.agent_id = $1 AND a.outcome IS NULL
            )
            ORDER BY i.priority DESC, i.created_at LIMIT $3 FOR UPDATE OF i SKIP LOCKED
        ) AS next
        WHERE agent_inbox.task_id = next.task_id AND agent_inbox.attempt = next.attempt
            AND agent_inbox.agent_id = next.agent_id
        RETURNING agent_inbox.request, agent_inbox.created_at, agent_inbox.traceparent,
            ceil(extract(epoch FROM agent_inbox.deadline_at - clock_timestamp()) * 1000)::bigint AS remaining_ms",
        &[Put::Text(agent), Put::Id(owner), Put::Long(count(limit)), Put::Long(millis(lease))],
    )
    .load(conn)
    .await?;
    let mut claims = Vec::with_capacity(rows.len());
    for row in rows {
        let remaining = Duration::from_millis(u64::try_from(row.remaining_ms).unwrap_or(0));
        let traceparent = row.traceparent;
        let claim = readable(row.request).map(|request| Claim { request, remaining, traceparent });
        claims.extend(claim.map(|claim| (row.created_at, claim)));
    }
    // An UPDATE returns its rows in no particular order.
    claims.sort_by(|(a_at, a), (b_at, b)| (b.request.priority, *a_at).cmp(&(a.request.priority, *b_at)));
    Ok(claims.into_iter().map(|(_, claim)| claim).collect())
}

#[derive(QueryableByName)]
struct RenewRow {
    #[diesel(sql_type = sql_types::Nullable<sql_types::Text>)]
    outcome: Option<String>,
}

/// Renews the lease of a running row and tells how its attempt stands.
pub async fn renew(conn: &mut AsyncPgConnection, key: &InboxKey, owner: Uuid, lease: Duration) -> DbResult<Renewed> {
    let rows: Vec<RenewRow> = Statement::named(
        "UPDATE agent_inbox i SET lease_until = now() + $5 * interval '1 ms'
        WHERE i.task_id = $1 AND i.attempt = $2 AND i.agent_id = $3 AND i.claimed_by = $4 AND i.state = 'running'
        RETURNING (SELECT coalesce(a.outcome, 'open') FROM task_attempts a
            WHERE a.task_id = i.task_id AND a.attempt = i.attempt) AS outcome",
        &[
            Put::Id(key.task_id),
            Put::Int(key.attempt),
            Put::Text(&key.agent_id),
            Put::Id(owner),
            Put::Long(millis(lease)),
        ],
    )
    .load(conn)
    .await?;
    let Some(row) = rows.into_iter().next() else { return Ok(Renewed::Lost) };
    Ok(match row.outcome.as_deref() {
        Some("open") => Renewed::Open,
        // A task that was deleted has no attempts any more.
        Some("cancelled") | None => Renewed::Cancelled,
        Some(_) => Renewed::Ended,
    })
}

#[derive(QueryableByName)]
struct FinishRow {
    #[diesel(sql_type = sql_types::Bool)]
    mine: bool,
    #[diesel(sql_type = sql_types::Bool)]
    late: bool,
}

/// Writes `result`, its `task.result` event and `pending`, the task's model and tool events, in one
/// transaction, if the row is still `owner`'s. The attempt's row is locked first, which the orchestrator's
/// deadline check locks too, so that a result is either in time for both or late for both. Calling it again
/// after a lost connection writes nothing twice. `traceparent` names the span that made the result, if there is one.
pub async fn finish(
    conn: &mut AsyncPgConnection,
    owner: Uuid,
    result: &TaskResult,
    pending: &[Event],
    traceparent: Option<&str>,
) -> DbResult<Finished> {
    let body = json(result)?;
    conn.transaction::<_, DbError, _>(async |conn| {
        let open = attempt_is_open(conn, result).await?;
        let written = Statement::named(
            "UPDATE agent_inbox SET state = 'done', result = $5, result_hash = $6, late = $7, finished_at = now(),
                lease_until = NULL, next_at = now(), traceparent = coalesce($8, traceparent)
            WHERE task_id = $1 AND attempt = $2 AND agent_id = $3 AND claimed_by = $4 AND state = 'running'",
            &[
                Put::Id(result.task_id),
                Put::Int(result.attempt),
                Put::Text(&result.agent_id),
                Put::Id(owner),
                Put::Document(JsonText(&body)),
                Put::Text(&result.result_hash),
                Put::Bool(!open),
                Put::OptionalText(traceparent),
            ],
        )
        .execute(conn)
        .await?;
        if written == 0 {
            return earlier_try(conn, owner, result).await;
        }
        let mut events = pending.to_vec();
        events.push(catalogue::task_result(result, true));
        append_in(conn, &events).await?;
        Ok(Finished::Written { late: !open })
    })
    .await
}

async fn attempt_is_open(conn: &mut AsyncPgConnection, result: &TaskResult) -> DbResult<bool> {
    #[derive(QueryableByName)]
    struct Open {
        #[diesel(sql_type = sql_types::Bool)]
        open: bool,
    }
    let rows: Vec<Open> = Statement::named(
        "SELECT outcome IS NULL AS open FROM task_attempts WHERE task_id = $1 AND attempt = $2 FOR NO KEY UPDATE",
        &[Put::Id(result.task_id), Put::Int(result.attempt)],
    )
    .load(conn)
    .await?;
    Ok(rows.into_iter().next().is_some_and(|row| row.open))
}

/// A commit whose answer was lost looks like a row that is done already, by the same owner with the same hash.
async fn earlier_try(conn: &mut AsyncPgConnection, owner: Uuid, result: &TaskResult) -> DbResult<Finished> {
    let rows: Vec<FinishRow> = Statement::named(
        "SELECT claimed_by = $4 AND result_hash = $5 AS mine, late FROM agent_inbox
        WHERE task_id = $1 AND attempt = $2 AND agent_id = $3 AND result_hash IS NOT NULL AND claimed_by IS NOT NULL",
        &[
            Put::Id(result.task_id),
            Put::Int(result.attempt),
            Put::Text(&result.agent_id),
            Put::Id(owner),
            Put::Text(&result.result_hash),
        ],
    )
    .load(conn)
    .await?;
    Ok(match rows.into_iter().next() {
        Some(row) if row.mine => Finished::Written { late: row.late },
        _ => Finished::Fenced,
    })
}
