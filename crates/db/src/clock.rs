//! The database's clock, which decides wherever order or deadlines depend on a time.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use diesel_async::{AsyncPgConnection, RunQueryDsl};

use crate::error::DbResult;

diesel::define_sql_function! {
    /// The moment of the call, unlike `now()`, which is the transaction's beginning.
    fn clock_timestamp() -> Timestamptz;
}

/// The time of the database's clock.
pub async fn now(conn: &mut AsyncPgConnection) -> DbResult<DateTime<Utc>> {
    Ok(diesel::select(clock_timestamp()).get_result(conn).await?)
}

/// `duration` in chrono's form; the longest possible where it does not fit.
pub(crate) fn delta(duration: Duration) -> TimeDelta {
    TimeDelta::from_std(duration).unwrap_or(TimeDelta::MAX)
}

/// `duration` in whole milliseconds.
pub(crate) fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
