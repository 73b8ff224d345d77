//! Monthly partitions: always this month and the next ones, whatever happened to upkeep in between.

use std::time::Duration;

use chrono::{DateTime, Utc};
use diesel::sql_types::{BigInt, Bool, Nullable, Text, Timestamptz};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use mesh_six_core::time;
use serde::Serialize;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::{
    error::{DbError, DbResult},
    metrics,
    pool::Database,
    statement::{Statement, Value},
};

/// Months after the current one that always have a partition.
pub const MONTHS_AHEAD: i32 = 3;
/// How often upkeep runs.
const DAILY: Duration = Duration::from_hours(24);
/// The pause after upkeep failed.
const AFTER_FAILURE: Duration = Duration::from_mins(1);
/// Tries where an open reader is in the way; each waits three seconds for its lock.
const TRIES: u32 = 5;

/// One partition of the log.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Partition {
    /// The table's name.
    pub name: String,
    /// Its first moment; `None` for the default partition.
    #[serde(with = "time::micros_option")]
    pub from: Option<DateTime<Utc>>,
    /// The first moment after it.
    #[serde(with = "time::micros_option")]
    pub to: Option<DateTime<Utc>>,
    /// Rows by the server's own estimate; `None` before it has counted.
    pub rows_estimate: Option<i64>,
    /// With indexes.
    pub bytes: i64,
    /// Whether this is the safety net, which should be empty.
    pub is_default: bool,
}

/// Makes the missing partitions of this month and the `months` after it; returns how many it made. Harmless when
/// repeated and in parallel.
pub async fn ensure(db: &Database, months: i32) -> DbResult<i32> {
    let mut tries = 1;
    loop {
        let mut conn = db.conn().await?;
        let made = Statement::<(diesel::sql_types::Integer,)>::new("SELECT mesh_six_ensure_partitions(")
            .bind(Value::Int(months))
            .sql(")")
            .get_result(&mut conn)
            .await
            .map_err(DbError::from);
        match made {
            Ok((made,)) => return Ok(made),
            Err(DbError::Locked) if tries < TRIES => tries += 1,
            Err(error) => return Err(error),
        }
        drop(conn);
        sleep(Duration::from_millis(fastrand::u64(50..250))).await;
    }
}

/// All partitions, oldest first, the default one last.
pub async fn list(conn: &mut AsyncPgConnection) -> DbResult<Vec<Partition>> {
    type Columns = (Text, Nullable<Timestamptz>, Nullable<Timestamptz>, Nullable<BigInt>, BigInt, Bool);
    type Row = (String, Option<DateTime<Utc>>, Option<DateTime<Utc>>, Option<i64>, i64, bool);
    let rows: Vec<Row> = Statement::<Columns>::new(
        "SELECT name, substring(bounds FROM 'FROM \\(''([^'']+)''')::timestamptz, \
         substring(bounds FROM 'TO \\(''([^'']+)''')::timestamptz, rows, bytes, bounds = 'DEFAULT' FROM (\
         SELECT c.relname::text AS name, pg_get_expr(c.relpartbound, c.oid) AS bounds, \
         nullif(c.reltuples, -1)::bigint AS rows, pg_total_relation_size(c.oid) AS bytes \
         FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid \
         WHERE i.inhparent = 'mesh_six_events'::regclass) p ORDER BY 2 NULLS LAST",
    )
    .load(conn)
    .await?;
    let partition = |(name, from, to, rows_estimate, bytes, is_default)| Partition {
        name,
        from,
        to,
        rows_estimate,
        bytes,
        is_default,
    };
    Ok(rows.into_iter().map(partition).collect())
}

/// Rows in the default partition. Any is an alarm: their month had no partition when they were written.
pub async fn default_rows(conn: &mut AsyncPgConnection) -> DbResult<i64> {
    let (rows,): (i64,) =
        Statement::<(BigInt,)>::new("SELECT count(*) FROM mesh_six_events_default").get_result(conn).await?;
    metrics::stray(rows);
    Ok(rows)
}

/// Makes partitions now and every day until `ended`, and sounds the alarm where the safety net has caught rows.
pub async fn run_upkeep(db: Database, ended: CancellationToken) {
    let upkeep = async {
        loop {
            let pause = match once(&db).await {
                Ok(()) => DAILY,
                Err(error) => {
                    warn!(error = %error, "upkeep of partitions failed; it is tried again in a minute");
                    AFTER_FAILURE
                }
            };
            sleep(pause).await;
        }
    };
    ended.run_until_cancelled(upkeep).await;
}

async fn once(db: &Database) -> DbResult<()> {
    let made = ensure(db, MONTHS_AHEAD).await?;
    if made > 0 {
        info!(partitions = made, "partitions were made");
    }
    let caught = default_rows(&mut *db.conn().await?).await?;
    if caught > 0 {
        error!(rows = caught, "the default partition holds events: their months had no partition");
    }
    Ok(())
}
