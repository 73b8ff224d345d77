//! Ending a task on its owner's wish.

use diesel_async::{AsyncConnection, AsyncPgConnection};
use mesh_six_core::{
    ApiError, ErrorType,
    task::{AttemptOutcome, TaskError, TaskStatus},
};
use uuid::Uuid;

use super::change::{Change, Verdict, Work};
use crate::{
    error::{DbError, DbResult},
    outbox::Claimant,
};

/// Cancels `task`. Cancelling it again changes nothing; one that has ended otherwise is a conflict. The agent
/// at work learns it when it renews its lease, and its answer no longer counts.
pub async fn cancel(conn: &mut AsyncPgConnection, task: Uuid, claimant: Claimant) -> DbResult<Change> {
    conn.transaction::<_, DbError, _>(async |conn| {
        let Some(mut work) = Work::lock(conn, task).await? else { return Ok(Change::unknown()) };
        match work.row.summary.status() {
            TaskStatus::Cancelled => return work.finish(conn, Verdict::Unchanged, claimant).await,
            ended @ (TaskStatus::Completed | TaskStatus::Failed) => {
                let message = format!("the task has ended already: it is {}", ended.as_str());
                return Err(ApiError::new(ErrorType::Conflict, message).into());
            }
            TaskStatus::Dispatched => {
                let newest = work.row.summary.attempts;
                work.lock_attempt(conn, newest).await?;
                work.close_attempt(conn, newest, AttemptOutcome::Cancelled).await?;
            }
            TaskStatus::Pending => {}
        }
        let error = TaskError { error_type: ErrorType::Cancelled, message: "cancelled by its owner".to_owned() };
        work.end(conn, TaskStatus::Cancelled, None, Some(&error)).await?;
        work.finish(conn, Verdict::Cancelled, claimant).await
    })
    .await
}
