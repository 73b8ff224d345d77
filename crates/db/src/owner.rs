//! A connection with the owner's rights, for what the application must not do: retention, import, repair.

use std::time::Duration;

use diesel::sql_types::Bool;
use diesel_async::{AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection};
use mesh_six_core::{ApiError, ErrorType};
use tokio::time::sleep;

use crate::{
    error::{DbError, DbResult},
    pool::{Database, DbConfig},
    statement::Statement,
};

/// Statements of upkeep read whole months, and an import may wait for its file.
const SESSION: &str = "RESET ROLE; SET statement_timeout = 0; SET idle_in_transaction_session_timeout = '10min'";
/// Tries where an open reader is in the way; each waits two seconds for its lock.
const TRIES: u32 = 5;

/// Connects to the server at `url` (no pooler) as the login that it names, without giving its rights up. Refused
/// unless that login owns the log.
pub async fn connect(url: &str, application_name: &str) -> DbResult<AsyncPgConnection> {
    let mut conn = Database::lazy(DbConfig::new(url, application_name))?.dedicated().await?;
    conn.batch_execute(SESSION).await?;
    let owns = "SELECT coalesce(bool_and(pg_has_role(relowner, 'USAGE')), false) FROM pg_class \
        WHERE oid = to_regclass('mesh_six_events')";
    let (owns,): (bool,) = Statement::<(Bool,)>::new(owns).get_result(&mut conn).await?;
    if owns {
        return Ok(conn);
    }
    Err(ApiError::new(ErrorType::Permission, "this needs the login that owns the event log (DATABASE_DIRECT_URL)")
        .into())
}

/// Runs `work`, which changes partitions, again while somebody's open transaction is in its way.
pub(crate) async fn patiently<T>(
    conn: &mut AsyncPgConnection,
    mut work: impl AsyncFnMut(&mut AsyncPgConnection) -> DbResult<T>,
) -> DbResult<T> {
    for _ in 1..TRIES {
        match work(conn).await {
            Err(DbError::Locked) => sleep(Duration::from_millis(fastrand::u64(100..400))).await,
            done => return done,
        }
    }
    work(conn).await
}
