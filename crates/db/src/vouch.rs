//! Who stands behind a result that came as a message (events.md §6).
//!
//! Messages are hints. A result is taken over if the agent's inbox holds it; an agent without a database is
//! believed on its message alone, if it is the one that was asked.

use diesel::sql_types::{Array, Integer, Nullable, Text, Uuid as SqlUuid};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use uuid::Uuid;

use crate::error::DbResult;

/// Which attempt, by whom.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Claim {
    /// The task.
    pub task_id: Uuid,
    /// The attempt.
    pub attempt: i32,
    /// Who says to have answered.
    pub agent_id: String,
}

/// What the database knows of a claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Voucher {
    /// The inbox holds an answer with this hash.
    Inbox(String),
    /// The inbox holds the attempt, but no answer yet.
    Unanswered,
    /// No inbox row, but this agent was asked: an agent without a database.
    Asked,
    /// Nobody asked this agent for that attempt.
    Nobody,
}

#[derive(diesel::QueryableByName)]
struct Row {
    #[diesel(sql_type = Nullable<Text>)]
    result_hash: Option<String>,
    #[diesel(sql_type = diesel::sql_types::Bool)]
    in_inbox: bool,
    #[diesel(sql_type = diesel::sql_types::Bool)]
    asked: bool,
}

const SQL: &str = "\
    SELECT i.result_hash, i.task_id IS NOT NULL AS in_inbox, coalesce(a.agent_id = c.agent_id, false) AS asked \
    FROM unnest($1, $2, $3) WITH ORDINALITY AS c (task_id, attempt, agent_id, place) \
    LEFT JOIN agent_inbox i ON (i.task_id, i.attempt, i.agent_id) = (c.task_id, c.attempt, c.agent_id) \
    LEFT JOIN task_attempts a ON (a.task_id, a.attempt) = (c.task_id, c.attempt) \
    ORDER BY c.place";

/// What is known of each claim, in order.
pub async fn vouchers(conn: &mut AsyncPgConnection, claims: &[Claim]) -> DbResult<Vec<Voucher>> {
    let rows: Vec<Row> = diesel::sql_query(SQL)
        .bind::<Array<SqlUuid>, _>(claims.iter().map(|c| c.task_id).collect::<Vec<_>>())
        .bind::<Array<Integer>, _>(claims.iter().map(|c| c.attempt).collect::<Vec<_>>())
        .bind::<Array<Text>, _>(claims.iter().map(|c| c.agent_id.as_str()).collect::<Vec<_>>())
        .load(conn)
        .await?;
    Ok(rows
        .into_iter()
        .map(|row| match row {
            Row { result_hash: Some(hash), .. } => Voucher::Inbox(hash),
            Row { in_inbox: true, .. } => Voucher::Unanswered,
            Row { asked: true, .. } => Voucher::Asked,
            _ => Voucher::Nobody,
        })
        .collect())
}
