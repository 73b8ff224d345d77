//! What nobody told us: results whose message was lost, requests that never arrived, agents' processes that
//! died. Also the upkeep of the outbox, readiness and gauges.

use std::{
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use mesh_six_core::ApiError;
use mesh_six_db::{
    DbError, DbResult, inbox, outbox,
    tasks::{self, Untaken},
};
use mesh_six_runtime::HealthState;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::{engine::Engine, metrics, outage::Outage};

/// Rows looked at in one sweep.
const BATCH: i64 = 200;
/// How long the database may take for a sign of life.
const ANSWER: Duration = Duration::from_secs(3);
/// How long sent messages are kept: longer than the longest attempt.
const KEEP: Duration = Duration::from_hours(1);
/// How often old ones are deleted.
const PRUNE: Duration = Duration::from_mins(1);

/// Runs until `stop`.
pub(crate) async fn run(engine: Arc<Engine>, health: HealthState, stop: CancellationToken) {
    let mut outage = Outage::new("the sweep for lost messages");
    let mut up_since: Option<Instant> = None;
    let mut pruned: Option<Instant> = None;
    while !stop.is_cancelled() {
        // While the database was away nobody could renew a lease, so a lease is judged only when it has been up
        // for longer than one.
        let judge = up_since.is_some_and(|since| since.elapsed() > engine.config.agent_lease + engine.config.sweep);
        let swept = match answers(&engine).await {
            Ok(()) => sweep(&engine, &health, judge).await,
            Err(error) => Err(error),
        };
        match &swept {
            Ok(()) => {
                up_since.get_or_insert_with(Instant::now);
                health.ready("database");
            }
            Err(error) => {
                up_since = None;
                health.not_ready("database", error.to_string());
            }
        }
        outage.note(swept);
        if up_since.is_some() && pruned.is_none_or(|at| at.elapsed() > PRUNE) {
            pruned = Some(Instant::now());
            outage.note(prune(&engine).await);
        }
        let _ = timeout(engine.config.sweep, stop.cancelled()).await;
    }
}

/// Fails where the database does not answer either, as on a machine that stands still: then a statement would wait for
/// good.
async fn answers(engine: &Engine) -> DbResult<()> {
    let answer = timeout(ANSWER, engine.db.ping()).await;
    engine.hangs.store(answer.is_err(), Ordering::Relaxed);
    answer.map_err(|_| DbError::Unavailable(format!("no answer within {} s", ANSWER.as_secs())))?
}

async fn sweep(engine: &Engine, health: &HealthState, judge: bool) -> DbResult<()> {
    let untaken = {
        let mut conn = engine.db.conn().await?;
        tasks::untaken(&mut conn, BATCH).await?
    };
    for Untaken { key, traceparent } in untaken {
        // A row that cannot be taken must not keep the others waiting.
        if let Err(error) = engine.accept(&key, None, false, traceparent.as_deref()).await {
            if error.is_transient() {
                return Err(error);
            }
            let error = ApiError::from(error);
            tracing::error!(task.id = %key.task_id, error.message = error.message, "a stored result was not taken over");
        }
    }
    let mut conn = engine.db.conn().await?;
    if judge {
        for key in inbox::expired(&mut conn, usize::try_from(BATCH).unwrap_or(usize::MAX)).await? {
            let change = tasks::lost(&mut conn, &key, engine.claimant).await?;
            tracing::warn!(task.id = %key.task_id, task.attempt = key.attempt, agent.id = key.agent_id, "agent lost");
            engine.follow(key.task_id, change);
        }
    }
    let resent = outbox::resend(&mut conn, engine.config.resend_after).await?;
    if resent > 0 {
        metrics::resent(resent);
        engine.relay.waiting.notify_one();
    }
    let open = tasks::open_count(&mut conn).await?;
    metrics::standing(open, outbox::backlog(&mut conn).await?);
    health.set_detail("tasks", open);
    Ok(())
}

async fn prune(engine: &Engine) -> DbResult<()> {
    let mut conn = engine.db.conn().await?;
    outbox::prune(&mut conn, KEEP).await?;
    Ok(())
}
