//! Letters that nobody has to decide about any more do not stay for ever.

use std::time::Duration;

use diesel_async::{AsyncPgConnection, RunQueryDsl};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::{
    error::DbResult,
    pool::Database,
    statement::{Statement, Value},
};

/// How long a letter is kept after it was replayed or discarded. One that waits is kept until somebody decides.
pub const KEEP: Duration = Duration::from_hours(30 * 24);
/// The most letters that one statement deletes.
const BATCH: usize = 1_000;
/// The most statements of one round.
const MOST: usize = 10;
/// The pause between two rounds.
const HOURLY: Duration = Duration::from_hours(1);

/// Deletes letters that were replayed or discarded longer than `keep` ago, and whose replay is not still to be sent; at
/// most a thousand a call. Returns how many went.
pub async fn prune(conn: &mut AsyncPgConnection, keep: Duration) -> DbResult<usize> {
    Ok(Statement::named(
        "DELETE FROM dead_letters l USING (
            SELECT app_id, topic, source, id FROM dead_letters d
            WHERE state <> 'waiting' AND decided_at < now() - $1 * interval '1 ms'
                AND NOT EXISTS (SELECT FROM outbox o WHERE o.letter_id = d.letter_id AND o.sent_at IS NULL)
            LIMIT $2 FOR UPDATE SKIP LOCKED
        ) AS old
        WHERE (l.app_id, l.topic, l.source, l.id) = (old.app_id, old.topic, old.source, old.id)",
        &[
            Value::Long(i64::try_from(keep.as_millis()).unwrap_or(i64::MAX)),
            Value::Long(i64::try_from(BATCH).unwrap_or(i64::MAX)),
        ],
    )
    .execute(conn)
    .await?)
}

/// Prunes now and every hour until `ended`, ten thousand letters a round at most.
pub async fn run_upkeep(db: Database, ended: CancellationToken) {
    let upkeep = async {
        loop {
            match round(&db).await {
                Ok(0) => {}
                Ok(letters) => info!(letters, "dead letters that were decided about a month ago were deleted"),
                Err(error) => warn!(error = %error, "old dead letters were not deleted"),
            }
            sleep(HOURLY).await;
        }
    };
    ended.run_until_cancelled(upkeep).await;
}

async fn round(db: &Database) -> DbResult<usize> {
    let mut conn = db.conn().await?;
    let mut gone = 0;
    for _ in 0..MOST {
        let went = prune(&mut conn, KEEP).await?;
        gone += went;
        if went < BATCH {
            break;
        }
    }
    Ok(gone)
}
