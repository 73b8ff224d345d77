//! Deadlines and next attempts: sleeps until the next is due in the database, claims what is due, acts.

use std::{sync::Arc, time::Duration};

use futures_util::{StreamExt, stream};
use mesh_six_core::ApiError;
use mesh_six_db::{DbResult, tasks};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::{engine::Engine, outage::Outage};

/// Tasks claimed at once.
const BATCH: usize = 50;
/// Tasks acted on at once; each may wait for health checks.
const AT_ONCE: usize = 8;
/// The longest sleep, for tasks that another orchestrator added.
const LONGEST: Duration = Duration::from_secs(1);
/// The shortest one, for a task that is due but whose row is locked.
const SHORTEST: Duration = Duration::from_millis(5);

/// Runs until `stop`.
pub(crate) async fn run(engine: Arc<Engine>, stop: CancellationToken) {
    let mut outage = Outage::new("deadlines and next attempts");
    while !stop.is_cancelled() {
        let sleep = match outage.note(round(&engine).await) {
            Some(Round::More) => continue,
            Some(Round::Idle(next)) => next.clamp(SHORTEST, LONGEST),
            None => LONGEST,
        };
        let woken = async {
            tokio::select! {
                () = engine.due.notified() => {}
                () = stop.cancelled() => {}
            }
        };
        let _ = timeout(sleep, woken).await;
    }
}

enum Round {
    /// There may be more that is due.
    More,
    /// Nothing is due before this time has passed.
    Idle(Duration),
}

async fn round(engine: &Engine) -> DbResult<Round> {
    let limit = i64::try_from(BATCH).unwrap_or(i64::MAX);
    let due = {
        let mut conn = engine.db.conn().await?;
        tasks::claim_due(&mut conn, engine.claimant, limit).await?
    };
    let found = due.len();
    stream::iter(due)
        .for_each_concurrent(AT_ONCE, async |due| {
            // One task's fault must not hold up the others; it is due again when the lease has ended.
            if let Err(error) = engine.act(&due).await {
                let error = ApiError::from(error);
                tracing::warn!(task.id = %due.task.task_id, error.message = error.message, "a due task was not moved on");
            }
        })
        .await;
    if found > 0 {
        return Ok(Round::More);
    }
    let mut conn = engine.db.conn().await?;
    Ok(Round::Idle(tasks::next_due(&mut conn).await?.unwrap_or(LONGEST)))
}
