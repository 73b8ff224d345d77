//! The database's clock, by which producers' clocks are judged.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use chrono::{DateTime, TimeDelta, Utc};
use diesel::sql_types::Timestamptz;
use diesel_async::RunQueryDsl;
use tokio::time::Instant;

use crate::{error::DbResult, pool::Database, statement::Statement};

/// How long a comparison of the two clocks is believed.
const BELIEVED: Duration = Duration::from_mins(10);

/// How far the database's clock is ahead of this machine's.
#[derive(Default)]
pub(crate) struct Clock(Mutex<Option<(Instant, TimeDelta)>>);

impl Clock {
    /// The database's time; asks it at most once in ten minutes.
    pub(crate) async fn now(&self, db: &Database) -> DbResult<DateTime<Utc>> {
        let known = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match known {
            Some((compared, ahead)) if compared.elapsed() < BELIEVED => Ok(Utc::now() + ahead),
            // An old comparison is better than none.
            Some((_, ahead)) => Ok(Utc::now() + self.compare(db).await.unwrap_or(ahead)),
            None => Ok(Utc::now() + self.compare(db).await?),
        }
    }

    async fn compare(&self, db: &Database) -> DbResult<TimeDelta> {
        let mut conn = db.conn().await?;
        let (now,): (DateTime<Utc>,) =
            Statement::<(Timestamptz,)>::new("SELECT clock_timestamp()").get_result(&mut conn).await?;
        let ahead = now - Utc::now();
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((Instant::now(), ahead));
        Ok(ahead)
    }
}
