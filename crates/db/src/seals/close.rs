//! The end of a month. A row bears the time at which its transaction began, so rows of a month may be committed long
//! after it; it is closed only when none can come any more.

use std::time::Duration;

use chrono::{DateTime, Utc};
use diesel::sql_types::Bool;
use diesel_async::{AsyncPgConnection, RunQueryDsl};

use crate::{
    clock::millis,
    error::DbResult,
    statement::{Statement, Value},
};

/// How long after a month's end it is closed at the earliest where the role may not see whose transactions are
/// open. Our own never last longer than a minute.
const BLIND: Duration = Duration::from_hours(1);

/// Whether every transaction of this database that began before `end` has ended, `wait` having passed since. Rows
/// of the month that it left are then visible to the next statement. A prepared transaction does not tell when it
/// began, so any is in the way.
pub(super) async fn may_close(conn: &mut AsyncPgConnection, end: DateTime<Utc>, wait: Duration) -> DbResult<bool> {
    let ended = Statement::<(Bool,)>::new("SELECT clock_timestamp() > ")
        .bind(Value::Time(end))
        .sql(" + interval '1 ms' * CASE WHEN pg_has_role('pg_read_all_stats', 'USAGE') THEN ")
        .bind(Value::Long(millis(wait)))
        .sql(" ELSE greatest(")
        .bind(Value::Long(millis(wait)))
        .sql(", ")
        .bind(Value::Long(millis(BLIND)))
        .sql(
            ") END AND NOT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() \
             AND pid <> pg_backend_pid() AND backend_type <> 'autovacuum worker' AND xact_start < ",
        )
        .bind(Value::Time(end))
        .sql(") AND NOT EXISTS (SELECT FROM pg_prepared_xacts WHERE database = current_database())");
    let (ended,) = ended.get_result(conn).await?;
    Ok(ended)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test that cannot go on should fail there")]
mod tests {
    use chrono::TimeDelta;
    use mesh_six_testing::TestServer;

    use super::*;
    use crate::{Database, DbConfig, clock};

    #[tokio::test]
    async fn a_month_waits_for_every_transaction_that_began_in_it() {
        let server = TestServer::start().await;
        let db = Database::connect(DbConfig::new(server.app_url().await, "test")).await.unwrap();
        let mut conn = db.conn().await.unwrap();
        let mut slow = server.client().await;
        let begun = slow.transaction().await.unwrap();
        // It has no transaction id yet and so does not hold the horizon back.
        begun.batch_execute("SELECT 1").await.unwrap();
        let end = clock::now(&mut conn).await.unwrap();
        assert!(!may_close(&mut conn, end, Duration::ZERO).await.unwrap(), "its rows would be of the month");
        begun.commit().await.unwrap();
        assert!(may_close(&mut conn, end, Duration::ZERO).await.unwrap());
        let later = slow.transaction().await.unwrap();
        later.batch_execute("SELECT 1").await.unwrap();
        assert!(may_close(&mut conn, end, Duration::ZERO).await.unwrap(), "a later one is of the next month");
        assert!(!may_close(&mut conn, end, Duration::from_mins(1)).await.unwrap(), "not before the pause is over");
        assert!(!may_close(&mut conn, end + TimeDelta::days(1), Duration::ZERO).await.unwrap(), "not before its end");
        later.rollback().await.unwrap();

        // Who cannot see other people's transactions waits for an hour.
        server.client().await.batch_execute("REVOKE pg_read_all_stats FROM mesh_six_app").await.unwrap();
        assert!(!may_close(&mut conn, end, Duration::ZERO).await.unwrap());
        let long_ago = end - TimeDelta::minutes(61);
        assert!(may_close(&mut conn, long_ago, Duration::ZERO).await.unwrap());
    }
}
