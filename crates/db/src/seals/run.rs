//! Sealing by itself, for the event logger.

use std::time::Duration;

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::{SealOptions, seal, unsealed};
use crate::{
    clock,
    error::{DbError, DbResult},
    metrics,
    pool::Database,
};

/// How often to seal, where nothing else is wanted.
pub const EVERY: Duration = Duration::from_mins(1);

/// Seals now and again after every pause of `every` until `ended`. Several processes may do so at once.
pub async fn run(db: Database, options: SealOptions, every: Duration, ended: CancellationToken) {
    let sealing = async {
        loop {
            match once(&db, options).await {
                Ok(()) => {}
                Err(DbError::Locked) => debug!("another sealer is at work"),
                Err(error) => warn!(error = %error, "sealing the event log failed; it is tried again"),
            }
            sleep(every).await;
        }
    };
    ended.run_until_cancelled(sealing).await;
}

async fn once(db: &Database, options: SealOptions) -> DbResult<()> {
    let sealed = seal(db, options).await;
    let mut conn = db.conn().await?;
    let now = clock::now(&mut conn).await?;
    let age = unsealed::oldest(&mut conn).await?.map_or(0.0, |oldest| (now - oldest).as_seconds_f64().max(0.0));
    metrics::unsealed(age);
    sealed.map(drop)
}
