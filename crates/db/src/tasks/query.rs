//! Reading tasks.

use std::{fmt, str::FromStr};

use chrono::{DateTime, Utc};
use diesel::{dsl::count_star, prelude::*};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use mesh_six_core::{ApiError, ErrorType, task::TaskStatus};
use serde_json::Value;
use uuid::Uuid;

use super::model::{NewTask, Row, SummaryRow, Task, TaskSummary};
use crate::{error::DbResult, schema::orchestrator_tasks as tasks};

/// Task `id`.
pub async fn get(conn: &mut AsyncPgConnection, id: Uuid) -> DbResult<Option<Task>> {
    let row: Option<Row> = tasks::table.find(id).select(Row::as_select()).first(conn).await.optional()?;
    Ok(row.map(Task::from))
}

/// The task that `task`'s `Idempotency-Key` was used for, if there is one and it asked for the same.
pub async fn by_client_key(conn: &mut AsyncPgConnection, task: &NewTask) -> DbResult<Option<Task>> {
    let Some(key) = task.client_key.as_deref() else { return Ok(None) };
    // The database compares, since 1e2 and 100 are one number to jsonb and two to us.
    let same = tasks::payload.eq(Value::Object(task.payload.clone()));
    let found: Option<(Row, bool)> =
        tasks::table.filter(tasks::client_key.eq(key)).select((Row::as_select(), same)).first(conn).await.optional()?;
    let Some((row, same_payload)) = found else { return Ok(None) };
    let then = &row.summary;
    let same = same_payload
        && then.capability == task.capability
        && then.priority == task.priority
        && then.timeout_seconds == task.timeout
        && then.requested_by == task.requested_by
        && then.user_id == task.user_id;
    if same { Ok(Some(row.into())) } else { Err(used_before(then.task_id).into()) }
}

fn used_before(task: Uuid) -> ApiError {
    let message = format!("this Idempotency-Key was used for another task, {task}; use a new key for a new task");
    ApiError { field: Some("Idempotency-Key".to_owned()), ..ApiError::new(ErrorType::Conflict, message) }
}

/// A place in the list of tasks, newest first. Opaque to clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor {
    created_at: DateTime<Utc>,
    task_id: Uuid,
}

impl Cursor {
    /// After `task`.
    pub fn after(task: &TaskSummary) -> Self {
        Self { created_at: task.created_at, task_id: task.task_id }
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}-{}", self.created_at.timestamp_micros(), self.task_id.simple())
    }
}

impl FromStr for Cursor {
    type Err = ApiError;

    fn from_str(text: &str) -> Result<Self, ApiError> {
        let read = || {
            let (micros, id) = text.split_once('-')?;
            let created_at = DateTime::from_timestamp_micros(i64::from_str_radix(micros, 16).ok()?)?;
            Some(Self { created_at, task_id: Uuid::try_parse(id).ok()? })
        };
        read().ok_or_else(|| ApiError::validation("after", "not a cursor of this list; take it from `next`"))
    }
}

/// Which tasks to list.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ListFilter {
    /// Only those in this state.
    pub status: Option<TaskStatus>,
    /// Only those that ask for this.
    pub capability: Option<String>,
    /// Only those after this place.
    pub after: Option<Cursor>,
    /// At most so many.
    pub limit: i64,
}

/// Tasks, newest first.
pub async fn list(conn: &mut AsyncPgConnection, filter: &ListFilter) -> DbResult<Vec<TaskSummary>> {
    let mut query = tasks::table.into_boxed();
    if let Some(status) = filter.status {
        query = query.filter(tasks::status.eq(status.as_str()));
    }
    if let Some(capability) = &filter.capability {
        query = query.filter(tasks::capability.eq(capability));
    }
    if let Some(after) = filter.after {
        let same_time = tasks::created_at.eq(after.created_at).and(tasks::task_id.lt(after.task_id));
        query = query.filter(tasks::created_at.le(after.created_at));
        query = query.filter(tasks::created_at.lt(after.created_at).or(same_time));
    }
    let rows: Vec<SummaryRow> = query
        .order((tasks::created_at.desc(), tasks::task_id.desc()))
        .limit(filter.limit)
        .select(SummaryRow::as_select())
        .load(conn)
        .await?;
    Ok(rows.into_iter().map(TaskSummary::from).collect())
}

/// Tasks that have not ended.
pub async fn open_count(conn: &mut AsyncPgConnection) -> DbResult<i64> {
    let open = [TaskStatus::Pending.as_str(), TaskStatus::Dispatched.as_str()];
    Ok(tasks::table.filter(tasks::status.eq_any(open)).select(count_star()).first(conn).await?)
}
