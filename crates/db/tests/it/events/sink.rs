//! The sink never delays its caller, loses nothing while the database is away for a while, and doubles nothing.

use std::time::{Duration, Instant};

use diesel_async::{AsyncConnection, AsyncPgConnection};
use mesh_six_core::{Event, EventSink, id::new_id};
use mesh_six_db::{
    DbError,
    events::{DatabaseSink, EventLog, SinkCounters, append_in},
};
use mesh_six_testing::{TestServer, wait_until};

use super::{Rig, SOON, count, event};

#[tokio::test]
async fn what_is_sent_is_written_in_order_and_soon() {
    let rig = Rig::new().await;
    let sink = DatabaseSink::start(rig.log.clone());
    let sent: Vec<Event> = (0..500).map(event).collect();
    for event in &sent {
        sink.send(event.clone());
    }
    // Nobody flushes.
    wait_until(SOON, async || rig.count("true").await == 500).await;
    let order = "SELECT id::text FROM mesh_six_events ORDER BY txid, seq";
    let ids: Vec<String> = rig.client.query(order, &[]).await.unwrap().iter().map(|row| row.get(0)).collect();
    assert_eq!(ids, sent.iter().map(|e| e.id.to_string()).collect::<Vec<_>>());

    // A bad event is dropped alone, and counted.
    sink.send(Event { event_type: "BAD".to_owned(), ..event(0) });
    sink.send(event(501));
    assert!(sink.flush(SOON).await);
    assert_eq!(sink.counters(), SinkCounters { sent: 502, written: 501, dropped: 1 });
    assert_eq!(rig.count("true").await, 501);
    sink.close().await;
    sink.send(event(502));
    assert_eq!(sink.counters().dropped, 2, "a closed sink takes nothing");
}

#[tokio::test]
async fn what_does_not_fit_is_dropped_and_counted() {
    let rig = Rig::new().await;
    let sink = DatabaseSink::start(rig.log.clone());
    // No await in between, so the background writer has no turn.
    let started = Instant::now();
    (0..1_500).for_each(|n| sink.send(event(n)));
    assert!(started.elapsed() < Duration::from_secs(1), "sending does not wait");
    assert_eq!(sink.counters().dropped, 500);
    assert!(sink.flush(SOON).await);
    assert_eq!(rig.count("true").await, 1_000);
}

#[tokio::test]
async fn a_results_transaction_takes_what_was_never_attempted() {
    let rig = Rig::new().await;
    let sink = DatabaseSink::start(rig.log.clone());
    let (task, other) = (new_id(), new_id());
    (0..10).for_each(|n| sink.send(event(n).of_task(task)));
    assert!(sink.flush(SOON).await);
    (10..20).for_each(|n| sink.send(event(n).of_task(if n % 2 == 0 { task } else { other })));
    let taken = sink.take_task(task).await;
    assert_eq!(taken.len(), 5, "only this task's, and none that is on record");
    assert!(sink.take_task(task).await.is_empty());

    // Rolled back, they are given back; committed, they are on record once, before the result.
    let mut conn = rig.db.conn().await.unwrap();
    let rolled_back = AsyncPgConnection::transaction::<(), DbError, _>(&mut conn, async |conn| {
        append_in(conn, &taken).await?;
        Err(DbError::Locked)
    });
    rolled_back.await.unwrap_err();
    sink.put_back(taken);
    let mut story = sink.take_task(task).await;
    story.push(event(20).of_task(task));
    append_in(&mut conn, &story).await.unwrap();
    assert!(sink.flush(SOON).await);
    let numbers = format!("SELECT payload->>'number' FROM mesh_six_events WHERE task_id = '{task}' ORDER BY txid, seq");
    let numbers: Vec<String> = rig.client.query(&numbers, &[]).await.unwrap().iter().map(|row| row.get(0)).collect();
    assert_eq!(numbers, ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "12", "14", "16", "18", "20"]);
    assert_eq!(rig.count("true").await, 21);
}

#[tokio::test]
async fn an_outage_is_outlived_and_doubles_nothing() {
    let mut server = TestServer::start().await;
    let log = EventLog::start(server.database().await);
    let sink = DatabaseSink::start(log.clone());
    let task = new_id();
    for n in 0..400 {
        sink.send(event(n).of_task(task));
        match n {
            100 => server.kill_nine(),
            200 => {
                // While a batch is in flight for ever, a result's transaction waits only so long.
                let started = Instant::now();
                let taken = sink.take_task(task).await;
                assert!(started.elapsed() < Duration::from_secs(10));
                sink.put_back(taken);
            }
            300 => server.restart().await,
            _ => tokio::time::sleep(Duration::from_millis(2)).await,
        }
    }
    assert!(sink.flush(SOON).await);
    assert_eq!(sink.counters(), SinkCounters { sent: 400, written: 400, dropped: 0 });
    let client = server.client().await;
    assert_eq!(count(&client, "true").await, 400);
    let distinct = "SELECT count(DISTINCT id) FROM mesh_six_events";
    assert_eq!(client.query_one(distinct, &[]).await.unwrap().get::<_, i64>(0), 400);
    sink.close().await;
    log.close().await;
}
