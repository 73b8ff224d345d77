//! A dump that is restored, and a standby that is promoted: followers go on, nothing is missing, the chain holds.

use std::time::Duration;

use futures_util::StreamExt;
use mesh_six_core::{Event, TraceId, event::Position};
use mesh_six_db::{
    Database, DbConfig,
    events::{Appended, EventLog},
    seals::{self, Head, SealOptions, VerifyOptions},
};
use mesh_six_testing::{TestServer, temporary_folder};
use serde_json::json;
use tokio::time::timeout;

const SOON: Duration = Duration::from_secs(30);

fn events(count: i64) -> Vec<Event> {
    (0..count)
        .map(|n| Event::new("test.event", "a", TraceId::new(), json!({ "n": n })).keyed(format!("k{n}")))
        .collect()
}

async fn positions(log: &EventLog, from: Position, count: usize) -> Vec<Position> {
    let read = log.follow(from).take(count).map(|event| event.unwrap().position).collect();
    timeout(SOON, read).await.unwrap()
}

/// Writes, has a follower read the first half and stop, and seals.
async fn prepare(db: &Database) -> (Vec<Position>, Head) {
    let log = EventLog::start(db.clone());
    for events in events(600).chunks(60) {
        log.append(events.to_vec()).await.unwrap();
    }
    let written = positions(&log, Position::START, 600).await;
    let head = seals::seal(db, SealOptions::default()).await.unwrap().head.unwrap();
    log.close().await;
    (written, head)
}

/// The follower goes on from its old position: what it had not read, then what is new.
async fn goes_on(db: &Database, written: &[Position], head: Head) {
    let log = EventLog::start(db.clone());
    let duplicates = log.append(events(600)).await.unwrap();
    assert!(duplicates.iter().all(|a| *a == Appended::Duplicate), "the keys came along");
    let new = vec![Event::new("test.event", "a", TraceId::new(), json!({})); 3];
    let new: Vec<Position> = log.append(new).await.unwrap().into_iter().map(position).collect();
    assert!(new.iter().all(|p| p > written.last().unwrap()), "{new:?} come after {:?}", written.last());
    let read = positions(&log, written[299], 303).await;
    assert_eq!(read[..300], written[300..]);
    assert_eq!(read[300..], new);
    let options = VerifyOptions { expect: Some(head.hash), ..VerifyOptions::default() };
    let report = seals::verify(db, options, |_| ()).await.unwrap();
    assert!(report.is_intact(), "{report:?}");
    assert_eq!((report.rows, report.unsealed.rows), (600, 3));
    // The chain goes on as well.
    assert_eq!(seals::seal(db, SealOptions::default()).await.unwrap().rows, 3);
    assert!(seals::verify(db, options, |_| ()).await.unwrap().is_intact());
    log.close().await;
}

fn position(appended: Appended) -> Position {
    match appended {
        Appended::Written(position) => position,
        Appended::Duplicate => panic!("taken for a duplicate"),
    }
}

#[tokio::test]
async fn a_dump_restored_into_a_new_server_goes_on() {
    let source = TestServer::start().await;
    let (written, head) = prepare(&source.database().await).await;
    let folder = temporary_folder().unwrap();
    let dump = folder.path().join("log.dump");
    source.dump(&dump).await;
    let target = TestServer::start().await;
    let url = target.restore(&dump).await;
    let db = Database::connect(DbConfig::new(&url, "restored")).await.unwrap();
    goes_on(&db, &written, head).await;
}

#[tokio::test]
async fn a_promoted_standby_goes_on() {
    let mut primary = TestServer::start().await;
    let standby = primary.standby().await;
    let db = primary.database().await;
    let (written, head) = prepare(&db).await;
    standby.catch_up_with(&primary).await;
    db.close();
    primary.kill_nine();
    standby.promote().await;
    goes_on(&standby.database().await, &written, head).await;
}
