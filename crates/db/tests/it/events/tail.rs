//! The tail misses nothing and shows nothing twice, whatever the writers do. Each test has a server of its own,
//! since the horizon belongs to the whole server.

use std::{pin::pin, time::Duration};

use futures_util::{Stream, StreamExt};
use mesh_six_core::{ErrorType, StoredEvent, event::Position};
use mesh_six_db::{
    DbError, DbResult,
    events::{EventLog, append_in},
};
use mesh_six_testing::{TestServer, wait_until};
use tokio::time::timeout;

use super::{SOON, count, event, events, position};

async fn take(tail: &mut (impl Stream<Item = DbResult<StoredEvent>> + Unpin), count: usize) -> Vec<StoredEvent> {
    let mut taken = Vec::with_capacity(count);
    while taken.len() < count {
        taken.push(timeout(SOON, tail.next()).await.unwrap().unwrap().unwrap());
    }
    taken
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tail_under_concurrent_slow_and_aborting_writers_misses_nothing_and_shows_nothing_twice() {
    let server = TestServer::start().await;
    let db = server.database().await;
    let log = EventLog::start(db.clone());
    let tail = pin!(log.follow(Position::START));
    let mut tail = tail;
    let mut writers = Vec::new();
    for writer in 0..4_i64 {
        let (log, mut client) = (log.clone(), server.client().await);
        writers.push(tokio::spawn(async move {
            let mut written = 0_usize;
            for round in 0..25 {
                match (writer + round) % 4 {
                    // Fast, by group commit.
                    0 | 1 => written += log.append(events(20)).await.unwrap().len(),
                    // Slow: what was written first is committed last.
                    2 => {
                        let open = client.transaction().await.unwrap();
                        open.batch_execute(INSERT).await.unwrap();
                        log.append(events(5)).await.unwrap();
                        open.query("SELECT pg_sleep(0.02)", &[]).await.unwrap();
                        open.batch_execute(INSERT).await.unwrap();
                        open.commit().await.unwrap();
                        written += 7;
                    }
                    // Aborted: leaves holes in the numbers.
                    _ => {
                        let open = client.transaction().await.unwrap();
                        open.batch_execute(INSERT).await.unwrap();
                        open.rollback().await.unwrap();
                    }
                }
            }
            written
        }));
    }
    let mut written = 0;
    for writer in writers {
        written += writer.await.unwrap();
    }
    let seen = take(&mut tail, written).await;
    let client = server.client().await;
    let rows = client.query("SELECT id::text FROM mesh_six_events ORDER BY txid, seq", &[]).await.unwrap();
    let stored: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    assert_eq!(seen.iter().map(|e| e.event.id.to_string()).collect::<Vec<_>>(), stored);
    assert!(seen.is_sorted_by(|a, b| a.position < b.position));

    // From a position in the middle, the rest.
    let rest = take(&mut pin!(log.follow(seen[100].position)), written - 101).await;
    assert_eq!(rest, seen[101..]);
    log.close().await;
    assert!(timeout(SOON, tail.next()).await.unwrap().is_none(), "a closed log ends its tails");
}

const INSERT: &str = "INSERT INTO mesh_six_events (occurred_at, id, trace_id, agent_id, event_type, payload) \
    VALUES (now(), gen_random_uuid(), gen_random_uuid(), 'raw', 'test.raw', '{}')";

#[tokio::test]
async fn the_tail_waits_behind_an_open_transaction_and_the_horizon_tells_whose_it_is() {
    let server = TestServer::start().await;
    let db = server.database().await;
    let log = EventLog::start(db.clone());
    let idle = log.horizon().await.unwrap();
    assert_eq!((idle.behind, idle.age_seconds, idle.holder), (0, 0.0, None));

    let mut slow = server.client().await;
    let open = slow.transaction().await.unwrap();
    open.batch_execute(INSERT).await.unwrap();
    let after = position(log.append(vec![event(1)]).await.unwrap()[0]);
    let mut tail = pin!(log.follow(Position::START));
    assert!(timeout(Duration::from_millis(300), tail.next()).await.is_err(), "nothing is shown yet");
    assert_eq!(log.head().await.unwrap(), Position::START);
    let held = log.horizon().await.unwrap();
    let holder = held.holder.unwrap();
    assert!(held.txid <= after.txid && held.behind > 0 && held.age_seconds > 0.0);
    assert_eq!(holder.state.as_deref(), Some("idle in transaction"));
    assert!(holder.pid.is_some() && holder.database.is_some());

    open.commit().await.unwrap();
    let seen = take(&mut tail, 2).await;
    assert_eq!(seen[0].event.event_type, "test.raw", "what began first comes first");
    assert_eq!(seen[1].position, after);
    assert_eq!(log.head().await.unwrap(), after);

    // A prepared transaction holds the horizon as well.
    slow.batch_execute("BEGIN").await.unwrap();
    slow.batch_execute(INSERT).await.unwrap();
    if slow.batch_execute("PREPARE TRANSACTION 'forgotten'").await.is_ok() {
        let holder = log.horizon().await.unwrap().holder.unwrap();
        assert_eq!((holder.state.as_deref(), holder.application.as_deref()), (Some("prepared"), Some("forgotten")));
        slow.batch_execute("COMMIT PREPARED 'forgotten'").await.unwrap();
    }
}

#[tokio::test]
async fn a_tail_is_woken_by_commits_of_this_and_of_other_processes() {
    let server = TestServer::start().await;
    let db = server.database().await;
    // Two logs are to each other as two processes: they share nothing but the server.
    let (log, other) = (EventLog::start(db.clone()), EventLog::start(db.clone()));
    let mut tail = pin!(log.follow(Position::START));
    log.append(events(1)).await.unwrap();
    take(&mut tail, 1).await;
    let mut conn = db.conn().await.unwrap();
    let mut lags = Vec::new();
    for round in 0..30 {
        match round % 3 {
            0 => drop(log.append(events(1)).await.unwrap()),
            1 => drop(other.append(events(1)).await.unwrap()),
            _ => {
                append_in(&mut conn, &events(1)).await.unwrap();
                other.wake();
            }
        }
        let committed = std::time::Instant::now();
        take(&mut tail, 1).await;
        lags.push(committed.elapsed());
    }
    lags.sort();
    assert!(lags[lags.len() / 2] < Duration::from_millis(200), "woken, not polled: {lags:?}");
}

#[tokio::test]
async fn a_tail_outlives_an_outage_of_the_database() {
    let mut server = TestServer::start().await;
    let log = EventLog::start(server.database().await);
    let mut tail = pin!(log.follow(Position::START));
    log.append(events(10)).await.unwrap();
    let before = take(&mut tail, 10).await;
    server.kill_nine();
    assert!(timeout(Duration::from_millis(300), tail.next()).await.is_err(), "an outage is no end");
    server.restart().await;
    let client = server.client().await;
    wait_until(SOON, async || log.append(events(1)).await.is_ok()).await;
    let missing = usize::try_from(count(&client, "true").await).unwrap() - 10;
    let after = take(&mut tail, missing).await;
    assert!(before.last().unwrap().position < after[0].position);
    let mut all: Vec<_> = before.iter().chain(&after).map(|e| e.event.id).collect();
    all.sort_unstable();
    all.dedup();
    assert_eq!(all.len(), 10 + missing, "nothing twice");
}

#[tokio::test]
async fn a_position_in_a_dropped_month_is_gone_and_says_where_to_go_on() {
    let server = TestServer::start().await;
    let log = EventLog::start(server.database().await);
    let written = position(log.append(events(1)).await.unwrap()[0]);
    let record = "INSERT INTO mesh_six_event_months (month, dropped_rows, dropped_at, last_txid, last_seq) \
        VALUES (202001, 9, now(), 3, 9)";
    server.client().await.batch_execute(record).await.unwrap();
    // Whoever had read all of the dropped month has missed nothing, whatever the position's own month is.
    for whole in [Position { txid: 3, seq: 9, floor: 201_912 }, Position { txid: 4, seq: 1, floor: 201_912 }] {
        let seen = take(&mut pin!(log.follow(whole)), 1).await;
        assert_eq!(seen[0].position, written);
    }
    let dropped = Position { txid: 3, seq: 8, floor: 201_912 };
    let mut tail = pin!(log.follow(dropped));
    let gone = timeout(SOON, tail.next()).await.unwrap().unwrap().unwrap_err();
    let DbError::Refused(gone) = gone else { panic!("{gone}") };
    assert_eq!(gone.error_type, ErrorType::Gone);
    assert!(tail.next().await.is_none(), "an error ends the tail");
    let first: Position = gone.details.unwrap()["first"].as_str().unwrap().parse().unwrap();
    let seen = take(&mut pin!(log.follow(first)), 1).await;
    assert_eq!(seen[0].position, written);
}
