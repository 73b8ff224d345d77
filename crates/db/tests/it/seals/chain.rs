//! One chain, whatever sealers and writers do at the same time.

use std::time::Duration;

use mesh_six_db::{
    events::EventLog,
    seals::{self, EVERY, Head, SealOptions, VerifyOptions},
};
use mesh_six_testing::{TestServer, wait_until};
use tokio_util::sync::CancellationToken;

use super::{Rig, SOON, events};

const INSERT: &str = "INSERT INTO mesh_six_events (occurred_at, id, trace_id, agent_id, event_type, payload) \
    VALUES (now(), gen_random_uuid(), gen_random_uuid(), 'raw', 'test.raw', '{}')";

fn small(max_rows_per_seal: u32) -> SealOptions {
    SealOptions { max_rows_per_seal, ..SealOptions::default() }
}

#[tokio::test]
async fn an_empty_log_has_no_chain() {
    let rig = Rig::new().await;
    let report = seals::seal(&rig.db, SealOptions::default()).await.unwrap();
    assert_eq!((report.rows, report.seals, report.head), (0, 0, None));
    let report = rig.verify(None).await;
    assert!(report.is_intact() && report.seals == 0 && report.unsealed.rows == 0);
    assert!(!rig.verify(Some("00".repeat(32).parse().unwrap())).await.is_intact(), "an expectation is not met");
    for rows in [0, 100_001] {
        assert!(seals::seal(&rig.db, small(rows)).await.is_err_and(|e| e.is_refused()));
    }
}

#[tokio::test]
async fn rows_that_are_not_sealed_are_counted() {
    let rig = Rig::sealed(10, 4).await;
    let first = rig.verify(None).await;
    assert_eq!((first.rows, first.seals, first.unsealed.rows, first.unsealed.oldest), (10, 3, 0, None));
    rig.log.append(events(7)).await.unwrap();
    let later = rig.verify(None).await;
    assert!(later.is_intact() && later.unsealed.oldest.is_some());
    assert_eq!((later.rows, later.unsealed.rows, later.head), (10, 7, first.head));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_sealers_at_once_make_one_chain() {
    let rig = Rig::new().await;
    rig.log.append(events(400)).await.unwrap();
    let sealer = || seals::seal(&rig.db, small(7));
    wait_until(SOON, async || {
        let (one, two, three) = tokio::join!(sealer(), sealer(), sealer());
        let made = [one.unwrap(), two.unwrap(), three.unwrap()];
        made.iter().map(|report| report.rows).sum::<i64>() == 0 && rig.verify(None).await.rows > 0
    })
    .await;
    rig.seal_all(7).await;
    let report = rig.verify(None).await;
    assert!(report.is_intact(), "{report:?}");
    assert_eq!((report.rows, report.unsealed.rows, Some(report.seals)), (400, 0, report.head.map(|h| h.number)));
}

#[tokio::test]
async fn what_lies_above_the_horizon_is_sealed_later_and_in_order() {
    let server = TestServer::start().await;
    let db = server.database().await;
    let log = EventLog::start(db.clone());
    log.append(events(3)).await.unwrap();
    let mut slow = server.client().await;
    let open = slow.transaction().await.unwrap();
    open.batch_execute(INSERT).await.unwrap();
    log.append(events(5)).await.unwrap();
    let first = seals::seal(&db, small(2)).await.unwrap();
    assert_eq!((first.rows, first.seals), (3, 2), "only what came before the slow transaction");
    assert_eq!(seals::seal(&db, small(2)).await.unwrap().rows, 0);
    // Even a sealer that comes between the two halves of a transaction's rows takes none of them.
    open.batch_execute(INSERT).await.unwrap();
    assert_eq!(seals::seal(&db, small(2)).await.unwrap().rows, 0);
    open.commit().await.unwrap();
    let second = seals::seal(&db, small(2)).await.unwrap();
    assert_eq!((second.rows, second.seals), (7, 4));
    let report = seals::verify(&db, VerifyOptions::default(), |_| {}).await.unwrap();
    assert!(report.is_intact() && report.rows == 10 && report.unsealed.rows == 0, "{report:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_chain_holds_while_four_writers_write() {
    let server = TestServer::start().await;
    let db = server.database().await;
    let log = EventLog::start(db.clone());
    let mut writers = Vec::new();
    for writer in 0..4_u64 {
        let (log, mut client) = (log.clone(), server.client().await);
        writers.push(tokio::spawn(async move {
            for round in 0..30 {
                match (writer + round) % 3 {
                    0 => drop(log.append(events(40)).await.unwrap()),
                    1 => {
                        // Slow: what was written first is committed last.
                        let open = client.transaction().await.unwrap();
                        open.batch_execute(INSERT).await.unwrap();
                        log.append(events(5)).await.unwrap();
                        open.batch_execute(INSERT).await.unwrap();
                        open.commit().await.unwrap();
                    }
                    _ => {
                        let open = client.transaction().await.unwrap();
                        open.batch_execute(INSERT).await.unwrap();
                        open.rollback().await.unwrap();
                    }
                }
            }
        }));
    }
    let mut seals_made = 0;
    while !writers.iter().all(tokio::task::JoinHandle::is_finished) {
        seals_made += seals::seal(&db, small(50)).await.unwrap().seals;
        let report = seals::verify(&db, VerifyOptions::default(), |_| {}).await.unwrap();
        assert!(report.is_intact(), "{report:?}");
    }
    for writer in writers {
        writer.await.unwrap();
    }
    seals::seal(&db, small(50)).await.unwrap();
    let report = seals::verify(&db, VerifyOptions::default(), |_| {}).await.unwrap();
    let count = server.client().await.query_one("SELECT count(*) FROM mesh_six_events", &[]).await.unwrap();
    assert!(report.is_intact() && seals_made > 1, "{report:?}");
    assert_eq!((report.rows, report.unsealed.rows), (count.get(0), 0));
}

#[tokio::test]
async fn two_sealers_in_the_background_seal_what_is_written_until_they_are_ended() {
    let rig = Rig::new().await;
    let ended = CancellationToken::new();
    let sealer = |every| tokio::spawn(seals::run(rig.db.clone(), small(10), every, ended.clone()));
    let sealers = [sealer(Duration::from_millis(20)), sealer(Duration::from_millis(30)), sealer(EVERY)];
    let head: Option<Head> = rig.verify(None).await.head;
    assert_eq!(head, None);
    for _ in 0..5 {
        rig.log.append(events(11)).await.unwrap();
    }
    wait_until(SOON, async || {
        let report = rig.verify(None).await;
        assert!(report.is_intact(), "{report:?}");
        report.rows == 55
    })
    .await;
    ended.cancel();
    for sealer in sealers {
        sealer.await.unwrap();
    }
}
