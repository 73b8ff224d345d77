//! Taking a delivered request in.

use diesel::{QueryableByName, sql_types};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use mesh_six_core::task::TaskRequest;

use super::{Accepted, json};
use crate::{
    error::DbResult,
    statement::{JsonText, Statement, Value},
};

#[derive(QueryableByName)]
struct AcceptRow {
    #[diesel(sql_type = sql_types::Bool)]
    added: bool,
    #[diesel(sql_type = sql_types::Bool)]
    open: bool,
    #[diesel(sql_type = sql_types::Bool)]
    asked: bool,
    #[diesel(sql_type = sql_types::Nullable<sql_types::Text>)]
    state: Option<String>,
}

/// Takes `request` in for `agent`, if an open attempt names both and its deadline has not passed. Idempotent:
/// a request that is done already only becomes due for publishing again. `traceparent` names the span that delivered
/// it, if it was delivered in a trace.
pub async fn accept(
    conn: &mut AsyncPgConnection,
    request: &TaskRequest,
    agent: &str,
    traceparent: Option<&str>,
) -> DbResult<Accepted> {
    let body = json(request)?;
    let row: AcceptRow = Statement::named(
        "WITH open AS (
            SELECT deadline_at FROM task_attempts
            WHERE task_id = $1 AND attempt = $2 AND agent_id = $3 AND outcome IS NULL AND deadline_at > now()
        ), added AS (
            INSERT INTO agent_inbox (task_id, attempt, agent_id, priority, request, deadline_at, traceparent)
            SELECT $1, $2, $3, $4, $5, deadline_at, $6 FROM open
            ON CONFLICT DO NOTHING RETURNING task_id
        ), again AS (
            UPDATE agent_inbox SET state = 'done', next_at = now()
            WHERE task_id = $1 AND attempt = $2 AND agent_id = $3 AND state = 'published' RETURNING task_id
        )
        SELECT EXISTS (SELECT FROM added) AS added, EXISTS (SELECT FROM open) AS open,
            EXISTS (SELECT FROM task_attempts WHERE task_id = $1 AND attempt = $2 AND agent_id = $3) AS asked,
            (SELECT state FROM agent_inbox WHERE task_id = $1 AND attempt = $2 AND agent_id = $3) AS state",
        &[
            Value::Id(request.id),
            Value::Int(request.attempt),
            Value::Text(agent),
            Value::Int(request.priority),
            Value::Document(JsonText(&body)),
            Value::OptionalText(traceparent),
        ],
    )
    .get_result(conn)
    .await?;
    Ok(match row.state.as_deref() {
        _ if row.added => Accepted::Queued,
        Some("done" | "published") => Accepted::Done,
        Some(_) => Accepted::Known,
        // Somebody else's insert is not in this statement's snapshot.
        None if row.open => Accepted::Known,
        None if row.asked => Accepted::NotExpected,
        None => Accepted::NobodyAsked,
    })
}
