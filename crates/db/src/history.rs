//! How attempts ended: what scoring learns from (core.md §4). One row per finished attempt, whatever is
//! delivered twice.

use std::{collections::HashMap, time::Duration};

use chrono::{DateTime, Utc};
use diesel::{
    prelude::*,
    sql_types::{Array, BigInt, Bool, Nullable, Text, Timestamptz, Uuid as SqlUuid},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use mesh_six_core::{ErrorType, scoring::WINDOW, time};
use serde::Serialize;
use serde_json::Value as Json;
use uuid::Uuid;

use crate::{
    clock,
    error::DbResult,
    schema::agent_task_history as history,
    statement::{Statement, Value},
};

/// An attempt that has ended.
#[derive(Clone, Debug, PartialEq)]
pub struct NewEntry<'a> {
    /// The task.
    pub task_id: Uuid,
    /// The attempt.
    pub attempt: i32,
    /// Who had it.
    pub agent_id: &'a str,
    /// What was asked for.
    pub capability: &'a str,
    /// Whether it was answered with success.
    pub success: bool,
    /// How long it took, in milliseconds.
    pub duration_ms: i64,
    /// Why it failed, if it did.
    pub error_type: Option<ErrorType>,
    /// Priority, score and trace of the task, for people.
    pub context: Json,
}

/// A row of the history.
#[derive(Clone, Debug, PartialEq, Queryable, Selectable)]
#[diesel(table_name = history, check_for_backend(diesel::pg::Pg))]
pub struct Entry {
    /// The task.
    pub task_id: Uuid,
    /// The attempt.
    pub attempt: i32,
    /// Who had it.
    pub agent_id: String,
    /// What was asked for.
    pub capability: String,
    /// Whether it was answered with success.
    pub success: bool,
    /// How long it took, in milliseconds.
    pub duration_ms: Option<i64>,
    /// Why it failed, if it did.
    pub error_type: Option<String>,
    /// When it ended.
    pub created_at: DateTime<Utc>,
}

/// How an attempt of an agent ended.
#[derive(Clone, Debug, PartialEq, Queryable, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Ended {
    /// The row's own.
    pub id: Uuid,
    /// What was asked for.
    pub capability: String,
    /// Whether it was answered with success.
    pub success: bool,
    /// How long it took, in milliseconds.
    pub duration_ms: Option<i64>,
    /// Why it failed, if it did.
    pub error_type: Option<String>,
    /// When it ended.
    #[serde(with = "time::micros")]
    pub created_at: DateTime<Utc>,
}

/// Writes `entry`, unless its attempt is there already.
pub async fn record(conn: &mut AsyncPgConnection, entry: &NewEntry<'_>) -> DbResult<()> {
    diesel::insert_into(history::table)
        .values((
            history::task_id.eq(entry.task_id),
            history::attempt.eq(entry.attempt),
            history::agent_id.eq(entry.agent_id),
            history::capability.eq(entry.capability),
            history::success.eq(entry.success),
            history::duration_ms.eq(entry.duration_ms.max(0)),
            history::error_type.eq(entry.error_type.map(ErrorType::as_str)),
            history::context.eq(&entry.context),
            history::created_at.eq(clock::clock_timestamp()),
        ))
        .on_conflict((history::task_id, history::attempt))
        .do_nothing()
        .execute(conn)
        .await?;
    Ok(())
}

/// What an agent's score depends on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// Attempts it works on now.
    pub in_flight: i64,
    /// Success of its newest attempts, newest first: at most [`WINDOW`].
    pub recent: Vec<bool>,
}

/// The records of `agents` at `capability`, without attempts older than `max_age`. One statement for all, since
/// every submission waits for it.
pub async fn records(
    conn: &mut AsyncPgConnection,
    agents: &[&str],
    capability: &str,
    max_age: Duration,
) -> DbResult<HashMap<String, Record>> {
    let rows: Vec<(String, i64, Vec<bool>)> = Statement::<(Text, BigInt, Array<Bool>)>::new(
        "SELECT a.agent_id, \
            (SELECT count(*) FROM task_attempts t WHERE t.agent_id = a.agent_id AND t.outcome IS NULL), \
            ARRAY(SELECT h.success FROM agent_task_history h WHERE h.agent_id = a.agent_id AND h.capability = ",
    )
    .bind(Value::Text(capability))
    // What the caller did wrong says nothing about the agent.
    .sql(" AND h.error_type IS DISTINCT FROM 'validation' AND h.created_at > now() - ")
    .bind(Value::Long(clock::millis(max_age)))
    .sql(" * interval '1 ms' ORDER BY h.created_at DESC, h.attempt DESC LIMIT ")
    .bind(Value::Long(i64::try_from(WINDOW).unwrap_or(i64::MAX)))
    .sql(") FROM unnest(")
    .bind(Value::Texts(agents.to_vec()))
    .sql(") AS a (agent_id)")
    .load(conn)
    .await?;
    Ok(rows.into_iter().map(|(agent, in_flight, recent)| (agent, Record { in_flight, recent })).collect())
}

/// The attempts of one task, first to last.
pub async fn of_task(conn: &mut AsyncPgConnection, task: Uuid) -> DbResult<Vec<Entry>> {
    Ok(history::table
        .filter(history::task_id.eq(task))
        .order(history::attempt.asc())
        .select(Entry::as_select())
        .load(conn)
        .await?)
}

/// How the newest `limit` attempts of `agent` ended, newest first.
pub async fn of_agent(conn: &mut AsyncPgConnection, agent: &str, limit: i64) -> DbResult<Vec<Ended>> {
    type Row = (SqlUuid, Text, Bool, Nullable<BigInt>, Nullable<Text>, Timestamptz);
    // The index is by capability too: from capability to capability few rows are read, however long the history is.
    let ended = Statement::<Row>::new(
        "WITH RECURSIVE mine (capability) AS ( \
            SELECT min(capability) FROM agent_task_history WHERE agent_id = ",
    )
    .bind(Value::Text(agent))
    .sql(" UNION ALL SELECT (SELECT min(h.capability) FROM agent_task_history h WHERE h.agent_id = ")
    .bind(Value::Text(agent))
    .sql(
        " AND h.capability > mine.capability) FROM mine WHERE mine.capability IS NOT NULL) \
        SELECT n.id, n.capability, n.success, n.duration_ms, n.error_type, n.created_at FROM mine, LATERAL ( \
            SELECT h.* FROM agent_task_history h WHERE h.capability = mine.capability AND h.agent_id = ",
    )
    .bind(Value::Text(agent))
    .sql(" ORDER BY h.created_at DESC LIMIT ")
    .bind(Value::Long(limit))
    .sql(") n ORDER BY n.created_at DESC, n.id LIMIT ")
    .bind(Value::Long(limit))
    .load(conn)
    .await?;
    Ok(ended)
}
