//! The horizon: below it all transactions have ended, so that a tail misses nothing. It belongs to the whole
//! server, so an idle transaction in any database holds it back; this tells which.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use diesel::sql_types::{BigInt, Double, Integer, Nullable, Text};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep};
use tracing::warn;

use crate::{error::DbResult, metrics, pool::Database, statement::Statement};

/// How often the horizon of a process with followers is looked at.
const WATCH_PAUSE: Duration = Duration::from_secs(10);
/// Our own write transactions end before this, in seconds; an older one is somebody's fault.
const OLD_SECONDS: f64 = 60.0;

/// How far the tail must stay behind, and why.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct HorizonReport {
    /// Events with a `txid` below this are visible to followers.
    pub txid: i64,
    /// Transaction ids that were handed out since.
    pub behind: i64,
    /// How long the oldest open transaction has held the horizon back, in seconds; 0 where none does.
    pub age_seconds: f64,
    /// That transaction, where the database's role may see it (`pg_read_all_stats`).
    pub holder: Option<HorizonHolder>,
}

/// An open transaction that holds the horizon back.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct HorizonHolder {
    /// The server's process; none for a prepared transaction.
    pub pid: Option<i32>,
    /// The database it works in.
    pub database: Option<String>,
    /// The application's name, or a prepared transaction's identifier.
    pub application: Option<String>,
    /// Such as `idle in transaction`, or `prepared`.
    pub state: Option<String>,
    /// How long ago it began, in seconds.
    pub age_seconds: f64,
}

impl fmt::Display for HorizonHolder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let application = self.application.as_deref().filter(|name| !name.is_empty()).unwrap_or("a client");
        write!(f, "{application}")?;
        if let Some(pid) = self.pid {
            write!(f, " (process {pid})")?;
        }
        match &self.database {
            Some(database) => write!(f, " in database {database}"),
            None => Ok(()),
        }
    }
}

/// Since when the horizon has stood where it stands, as this process saw it, for where the holder is hidden.
#[derive(Clone, Default)]
pub(crate) struct Observed(Arc<Mutex<Option<(i64, Instant)>>>);

impl Observed {
    fn seconds_at(&self, txid: i64) -> f64 {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match *seen {
            Some((at, since)) if at == txid => since.elapsed().as_secs_f64(),
            _ => {
                *seen = Some((txid, Instant::now()));
                0.0
            }
        }
    }
}

type Columns = (BigInt, BigInt, Nullable<Integer>, Nullable<Text>, Nullable<Text>, Nullable<Text>, Nullable<Double>);

type Row = (i64, i64, Option<i32>, Option<String>, Option<String>, Option<String>, Option<f64>);

/// `xid` columns have 32 bits, hence the remainder.
const REPORT: &str = "WITH now AS MATERIALIZED (SELECT mesh_six_horizon() AS horizon, \
    pg_snapshot_xmin(s)::text::bigint AS oldest, pg_snapshot_xmax(s)::text::bigint AS next \
    FROM pg_current_snapshot() s), \
    open AS (SELECT pid, datname::text AS database, application_name AS application, state, backend_xid AS xid, \
    xact_start AS began FROM pg_stat_activity WHERE backend_xid IS NOT NULL \
    UNION ALL SELECT NULL, database::text, gid, 'prepared', transaction, prepared FROM pg_prepared_xacts) \
    SELECT now.horizon, now.next - now.oldest, open.pid, open.database, open.application, open.state, \
    extract(epoch FROM clock_timestamp() - open.began)::float8 FROM now \
    LEFT JOIN open ON open.xid::text::bigint = now.oldest % 4294967296 LIMIT 1";

pub(crate) async fn report(conn: &mut AsyncPgConnection, observed: &Observed) -> DbResult<HorizonReport> {
    let row: Row = Statement::<Columns>::new(REPORT).get_result(conn).await?;
    let (txid, behind, pid, database, application, state, age) = row;
    let seen = observed.seconds_at(txid);
    let holder = state.is_some().then(|| HorizonHolder {
        pid,
        database,
        application,
        state,
        age_seconds: age.unwrap_or_default(),
    });
    let age_seconds = match &holder {
        _ if behind == 0 => 0.0,
        Some(holder) => holder.age_seconds,
        None => seen,
    };
    metrics::horizon_age(age_seconds);
    Ok(HorizonReport { txid, behind, age_seconds, holder })
}

/// Keeps the metric up to date while there are followers, and names whoever holds them up.
pub(crate) async fn watch(db: Database, observed: Observed) {
    let mut warned = false;
    loop {
        if let Ok(report) = look(&db, &observed).await {
            let old = report.age_seconds > OLD_SECONDS;
            if old && !warned {
                let holder = report.holder.as_ref();
                warn!(
                    horizon.age_seconds = report.age_seconds,
                    holder.pid = holder.and_then(|h| h.pid),
                    holder.database = holder.and_then(|h| h.database.as_deref()),
                    holder.application = holder.and_then(|h| h.application.as_deref()),
                    "an open transaction holds up all tails of the event log"
                );
            }
            warned = old;
        }
        sleep(WATCH_PAUSE).await;
    }
}

async fn look(db: &Database, observed: &Observed) -> DbResult<HorizonReport> {
    let mut conn = db.conn().await?;
    report(&mut conn, observed).await
}
