//! Publishing results: what is due, what is done.

use std::time::Duration;

use diesel::{QueryableByName, sql_types};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use serde_json::Value;

use super::{InboxKey, Unpublished, count, millis, readable};
use crate::{
    error::DbResult,
    statement::{Statement, Value as Put},
};

#[derive(QueryableByName)]
struct ResultRow {
    #[diesel(sql_type = sql_types::Jsonb)]
    result: Value,
    #[diesel(sql_type = sql_types::Integer)]
    tries: i32,
    #[diesel(sql_type = sql_types::Nullable<sql_types::Text>)]
    traceparent: Option<String>,
}

/// Up to `limit` results of `agent` that are due for publishing. They are not due for anybody again before
/// `lease` has passed.
pub async fn unpublished(
    conn: &mut AsyncPgConnection,
    agent: &str,
    limit: usize,
    lease: Duration,
) -> DbResult<Vec<Unpublished>> {
    let rows: Vec<ResultRow> = Statement::named(
        "UPDATE agent_inbox SET next_at = now() + $3 * interval '1 ms', tries = agent_inbox.tries + 1
        FROM (
            SELECT task_id, attempt, agent_id FROM agent_inbox
            WHERE agent_id = $1 AND state = 'done' AND result IS NOT NULL AND next_at <= now()
            ORDER BY next_at LIMIT $2 FOR UPDATE SKIP LOCKED
        ) AS due
        WHERE agent_inbox.task_id = due.task_id AND agent_inbox.attempt = due.attempt
            AND agent_inbox.agent_id = due.agent_id
        RETURNING agent_inbox.result, agent_inbox.tries - 1 AS tries, agent_inbox.traceparent",
        &[Put::Text(agent), Put::Long(count(limit)), Put::Long(millis(lease))],
    )
    .load(conn)
    .await?;
    Ok(rows
        .into_iter()
        .filter_map(|row| {
            Some(Unpublished { result: readable(row.result)?, tries: row.tries, traceparent: row.traceparent })
        })
        .collect())
}

/// Publishing has succeeded.
pub async fn published(conn: &mut AsyncPgConnection, key: &InboxKey) -> DbResult<()> {
    Statement::named(
        "UPDATE agent_inbox SET state = 'published', tries = 0
        WHERE task_id = $1 AND attempt = $2 AND agent_id = $3 AND state = 'done'",
        &[Put::Id(key.task_id), Put::Int(key.attempt), Put::Text(&key.agent_id)],
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Publishing has failed: it is due again after `delay`.
pub async fn postpone(conn: &mut AsyncPgConnection, key: &InboxKey, delay: Duration) -> DbResult<()> {
    Statement::named(
        "UPDATE agent_inbox SET next_at = now() + $4 * interval '1 ms'
        WHERE task_id = $1 AND attempt = $2 AND agent_id = $3 AND state = 'done'",
        &[Put::Id(key.task_id), Put::Int(key.attempt), Put::Text(&key.agent_id), Put::Long(millis(delay))],
    )
    .execute(conn)
    .await?;
    Ok(())
}
