//! Looking after the table: dead processes, length of the queue, age.

use std::time::Duration;

use diesel::{QueryableByName, sql_query, sql_types};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use uuid::Uuid;

use super::{InboxKey, count, millis};
use crate::error::DbResult;

/// How long a row is kept.
pub const KEEP: Duration = Duration::from_hours(7 * 24);

#[derive(QueryableByName)]
struct KeyRow {
    #[diesel(sql_type = sql_types::Uuid)]
    task_id: Uuid,
    #[diesel(sql_type = sql_types::Integer)]
    attempt: i32,
    #[diesel(sql_type = sql_types::Text)]
    agent_id: String,
}

/// Running rows of open attempts whose lease has expired: their process died. Only to be believed by a caller
/// that has seen the database up for a full lease period, since nobody could renew while it was away.
pub async fn expired(conn: &mut AsyncPgConnection, limit: usize) -> DbResult<Vec<InboxKey>> {
    let rows: Vec<KeyRow> = sql_query(
        "SELECT i.task_id, i.attempt, i.agent_id FROM agent_inbox i
        JOIN task_attempts a ON a.task_id = i.task_id AND a.attempt = i.attempt AND a.agent_id = i.agent_id
        WHERE i.state = 'running' AND i.lease_until < now() AND a.outcome IS NULL
        ORDER BY i.lease_until LIMIT $1",
    )
    .bind::<sql_types::BigInt, _>(count(limit))
    .load(conn)
    .await?;
    Ok(rows.into_iter().map(|r| InboxKey { task_id: r.task_id, attempt: r.attempt, agent_id: r.agent_id }).collect())
}

/// How many requests of `agent` wait to be claimed.
pub async fn queued(conn: &mut AsyncPgConnection, agent: &str) -> DbResult<i64> {
    #[derive(QueryableByName)]
    struct Count {
        #[diesel(sql_type = sql_types::BigInt)]
        count: i64,
    }
    let count: Count = sql_query(
        "SELECT count(*) AS count FROM agent_inbox WHERE agent_id = $1 AND state = 'queued' AND deadline_at > now()",
    )
    .bind::<sql_types::Text, _>(agent)
    .get_result(conn)
    .await?;
    Ok(count.count)
}

/// Deletes what is older than `keep` and has nothing left to publish, and requests that were never begun and
/// whose deadline has passed a minute ago; at most a thousand rows a call. Returns how many went.
pub async fn prune(conn: &mut AsyncPgConnection, agent: &str, keep: Duration) -> DbResult<usize> {
    let gone = sql_query(
        "DELETE FROM agent_inbox i USING (
            SELECT task_id, attempt, agent_id FROM agent_inbox
            WHERE agent_id = $1 AND (
                (state <> 'done' AND created_at < now() - $2 * interval '1 ms')
                OR (state = 'queued' AND deadline_at < now() - interval '1 minute')
            )
            LIMIT 1000 FOR UPDATE SKIP LOCKED
        ) AS old
        WHERE i.task_id = old.task_id AND i.attempt = old.attempt AND i.agent_id = old.agent_id",
    )
    .bind::<sql_types::Text, _>(agent)
    .bind::<sql_types::BigInt, _>(millis(keep))
    .execute(conn)
    .await?;
    Ok(gone)
}
