//! How attempts ended: what scoring learns from (core.md §4). One row per finished attempt, whatever is
//! delivered twice.

use std::{collections::HashMap, time::Duration};

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use mesh_six_core::{ErrorType, scoring::WINDOW};
use serde_json::Value;
use uuid::Uuid;

use crate::{clock, error::DbResult, schema::agent_task_history as history};

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
    pub context: Value,
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

/// Success of the newest attempts of each of `agents` at `capability`, newest first: at most [`WINDOW`] of
/// them, none older than `max_age`. Agents without any are left out.
pub async fn recent(
    conn: &mut AsyncPgConnection,
    agents: &[&str],
    capability: &str,
    max_age: Duration,
) -> DbResult<HashMap<String, Vec<bool>>> {
    // A day's age needs no exact clock, and bound like this the statement stays prepared.
    let since = Utc::now().checked_sub_signed(clock::delta(max_age)).unwrap_or(DateTime::<Utc>::MIN_UTC);
    let mut found = HashMap::with_capacity(agents.len());
    for agent in agents {
        let rows: Vec<bool> = history::table
            .filter(history::agent_id.eq(agent))
            .filter(history::capability.eq(capability))
            .filter(history::created_at.gt(since))
            .order((history::created_at.desc(), history::attempt.desc()))
            .limit(i64::try_from(WINDOW).unwrap_or(i64::MAX))
            .select(history::success)
            .load(conn)
            .await?;
        if !rows.is_empty() {
            found.insert((*agent).to_owned(), rows);
        }
    }
    Ok(found)
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
