//! Publishing results: what is due, what is done.

use std::time::Duration;

use diesel::{QueryableByName, sql_query, sql_types};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use serde_json::Value;

use super::{InboxKey, Unpublished, count, millis, readable};
use crate::error::DbResult;

#[derive(QueryableByName)]
struct ResultRow {
    #[diesel(sql_type = sql_types::Jsonb)]
    result: Value,
    #[diesel(sql_type = sql_types::Integer)]
    tries: i32,
}

/// Up to `limit` results of `agent` that are due for publishing. They are not due for anybody again before
/// `lease` has passed.
pub async fn unpublished(
    conn: &mut AsyncPgConnection,
    agent: &str,
    limit: usize,
    lease: Duration,
) -> DbResult<Vec<Unpublished>> {
    let rows: Vec<ResultRow> = sql_query(
        "UPDATE agent_inbox SET next_at = now() + $3 * interval '1 ms', tries = agent_inbox.tries + 1
        FROM (
            SELECT task_id, attempt, agent_id FROM agent_inbox
            WHERE agent_id = $1 AND state = 'done' AND result IS NOT NULL AND next_at <= now()
            ORDER BY next_at LIMIT $2 FOR UPDATE SKIP LOCKED
        ) AS due
        WHERE agent_inbox.task_id = due.task_id AND agent_inbox.attempt = due.attempt
            AND agent_inbox.agent_id = due.agent_id
        RETURNING agent_inbox.result, agent_inbox.tries - 1 AS tries",
    )
    .bind::<sql_types::Text, _>(agent)
    .bind::<sql_types::BigInt, _>(count(limit))
    .bind::<sql_types::BigInt, _>(millis(lease))
    .load(conn)
    .await?;
    Ok(rows
        .into_iter()
        .filter_map(|row| Some(Unpublished { result: readable(row.result)?, tries: row.tries }))
        .collect())
}

/// Publishing has succeeded.
pub async fn published(conn: &mut AsyncPgConnection, key: &InboxKey) -> DbResult<()> {
    sql_query(
        "UPDATE agent_inbox SET state = 'published', tries = 0
        WHERE task_id = $1 AND attempt = $2 AND agent_id = $3 AND state = 'done'",
    )
    .bind::<sql_types::Uuid, _>(key.task_id)
    .bind::<sql_types::Integer, _>(key.attempt)
    .bind::<sql_types::Text, _>(&key.agent_id)
    .execute(conn)
    .await?;
    Ok(())
}

/// Publishing has failed: it is due again after `delay`.
pub async fn postpone(conn: &mut AsyncPgConnection, key: &InboxKey, delay: Duration) -> DbResult<()> {
    sql_query(
        "UPDATE agent_inbox SET next_at = now() + $4 * interval '1 ms'
        WHERE task_id = $1 AND attempt = $2 AND agent_id = $3 AND state = 'done'",
    )
    .bind::<sql_types::Uuid, _>(key.task_id)
    .bind::<sql_types::Integer, _>(key.attempt)
    .bind::<sql_types::Text, _>(&key.agent_id)
    .bind::<sql_types::BigInt, _>(millis(delay))
    .execute(conn)
    .await?;
    Ok(())
}
