//! The last second of a month and the first of the next, under load.

use std::pin::pin;

use futures_util::StreamExt;
use mesh_six_core::event::Position;
use mesh_six_db::events::EventLog;
use mesh_six_testing::TestServer;

use super::{Load, SOON};

/// The database's clock, as far as the log's rows are concerned: the last moment of a year until it is turned, then
/// the first ones of the next.
const NEW_YEARS_EVE: &str = "CREATE TABLE turned (at timestamptz); \
    CREATE FUNCTION log_now() RETURNS timestamptz LANGUAGE sql STABLE SECURITY DEFINER AS \
    $$ SELECT coalesce('2025-01-01 00:00:00+00'::timestamptz + (SELECT now() - at FROM turned), \
        '2024-12-31 23:59:59.999999+00') $$; \
    ALTER TABLE mesh_six_events ALTER COLUMN timestamp SET DEFAULT log_now(); \
    SELECT mesh_six_ensure_partitions(2, '2024-12-01')";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_last_second_of_a_month_and_the_first_of_the_next_lose_and_double_nothing() {
    let server = TestServer::start().await;
    let (client, db) = (server.client().await, server.database().await);
    let log = EventLog::start(db.clone());
    let mut tail = pin!(log.follow(Position::START));
    client.batch_execute(NEW_YEARS_EVE).await.unwrap();
    let load = Load::start(std::slice::from_ref(&log), 8, 2, 10);
    // Begun in the old year and committed in the new one.
    let slow = server.client().await;
    let insert = "INSERT INTO mesh_six_events (occurred_at, id, trace_id, agent_id, event_type, payload) \
        VALUES (now(), gen_random_uuid(), gen_random_uuid(), 'slow', 'test.slow', '{}')";
    slow.batch_execute("BEGIN").await.unwrap();
    slow.batch_execute(insert).await.unwrap();
    let count = async |table: &str| -> i64 {
        client.query_one(&format!("SELECT count(*) FROM {table}"), &[]).await.unwrap().get(0)
    };
    load.goes_on(50).await;
    client.batch_execute("INSERT INTO turned SELECT clock_timestamp()").await.unwrap();
    load.goes_on(50).await;
    slow.batch_execute("COMMIT").await.unwrap();
    load.goes_on(50).await;
    assert!(count("mesh_six_events_2024_12").await > 50 && count("mesh_six_events_2025_01").await > 50);
    load.ends_whole(&client, &db).await;

    // A follower that was there all the time has seen each row once, in order.
    let rows = client.query("SELECT id::text FROM mesh_six_events ORDER BY txid, seq", &[]).await.unwrap();
    for row in rows {
        let seen = tokio::time::timeout(SOON, tail.next()).await.unwrap().unwrap().unwrap();
        assert_eq!(seen.event.id.to_string(), row.get::<_, String>(0));
    }
    log.close().await;
}
