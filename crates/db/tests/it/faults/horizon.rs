//! An idle transaction in another database of the server holds the tail back.

use std::pin::pin;

use futures_util::StreamExt;
use mesh_six_core::event::Position;
use mesh_six_db::events::EventLog;
use mesh_six_testing::{TestServer, wait_until};
use tokio::time::timeout;
use tokio_postgres::NoTls;

use super::{Load, SOON};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_transaction_in_another_database_is_reported_and_nothing_is_lost() {
    let server = TestServer::start().await;
    let (client, db) = (server.client().await, server.database().await);
    client.batch_execute("CREATE DATABASE elsewhere").await.unwrap();
    let url = server.url();
    let elsewhere = format!("{}/elsewhere", url.rsplit_once('/').unwrap().0);
    let (idle, connection) = tokio_postgres::connect(&elsewhere, NoTls).await.unwrap();
    tokio::spawn(connection);
    idle.batch_execute("SET application_name = 'forgotten'; BEGIN; SELECT pg_current_xact_id()").await.unwrap();
    let pid: i32 = idle.query_one("SELECT pg_backend_pid()", &[]).await.unwrap().get(0);

    let log = EventLog::start(db.clone());
    let mut tail = pin!(log.follow(Position::START));
    let load = Load::start(std::slice::from_ref(&log), 4, 2, 10);
    load.goes_on(50).await;
    assert!(timeout(std::time::Duration::from_millis(300), tail.next()).await.is_err(), "nothing is shown yet");
    let held = log.horizon().await.unwrap();
    let holder = held.holder.unwrap();
    assert_eq!((holder.pid, holder.database.as_deref()), (Some(pid), Some("elsewhere")));
    assert_eq!(
        (holder.application.as_deref(), holder.state.as_deref()),
        (Some("forgotten"), Some("idle in transaction"))
    );
    assert!(held.behind > 0 && held.age_seconds > 0.0 && holder.age_seconds > 0.0);

    idle.batch_execute("COMMIT").await.unwrap();
    load.goes_on(10).await;
    load.ends_whole(&client, &db).await;
    let rows = client.query("SELECT id::text FROM mesh_six_events ORDER BY txid, seq", &[]).await.unwrap();
    for row in rows {
        let seen = timeout(SOON, tail.next()).await.unwrap().unwrap().unwrap();
        assert_eq!(seen.event.id.to_string(), row.get::<_, String>(0));
    }
    wait_until(SOON, async || log.horizon().await.unwrap().holder.is_none()).await;
    log.close().await;
}
