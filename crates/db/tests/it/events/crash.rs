//! PostgreSQL is killed under load: what was answered is on record, and nothing is there twice.

use std::{
    collections::HashSet,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use mesh_six_core::Event;
use mesh_six_db::events::EventLog;
use mesh_six_testing::{TestServer, wait_until};

use super::{SOON, event, is_written};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_killed_under_load_keeps_all_that_was_answered_and_nothing_twice() {
    let mut server = TestServer::start().await;
    let log = EventLog::start(server.database().await);
    let (stop, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let callers: Vec<_> =
        (0..16).map(|caller| tokio::spawn(load(log.clone(), caller, stop.clone(), answered.clone()))).collect();
    for _ in 0..3 {
        let before = answered.load(Ordering::Relaxed);
        wait_until(SOON, async || answered.load(Ordering::Relaxed) > before + 200).await;
        server.kill_nine();
        server.restart().await;
    }
    stop.store(true, Ordering::Relaxed);
    let mut known = Known::default();
    for caller in callers {
        let Known { sent, maybe } = caller.await.unwrap();
        known.sent.extend(sent);
        known.maybe.extend(maybe);
    }
    let client = server.client().await;
    let rows = client.query("SELECT id::text, idempotency_key FROM mesh_six_events", &[]).await.unwrap();
    let stored: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    let keys: Vec<String> = rows.iter().filter_map(|row| row.get(1)).collect();
    assert_eq!(keys.len(), keys.iter().collect::<HashSet<_>>().len(), "no key twice");
    assert_eq!(stored.len(), stored.iter().collect::<HashSet<_>>().len(), "no event twice");
    let stored: HashSet<String> = stored.into_iter().collect();
    assert!(known.sent.is_subset(&stored), "all that was answered is on record");
    assert!(stored.difference(&known.sent).all(|id| known.maybe.contains(id)), "and nothing that was not sent");
    log.close().await;
}

/// What one caller knows of its events.
#[derive(Default)]
struct Known {
    /// Answered: on record.
    sent: HashSet<String>,
    /// The server was away too long to say.
    maybe: HashSet<String>,
}

/// Appends batches of one keyless and two keyed events until told to stop. Keyed events are appended until they are
/// answered, since that is safe.
async fn load(log: EventLog, caller: i64, stop: Arc<AtomicBool>, answered: Arc<AtomicUsize>) -> Known {
    let mut known = Known::default();
    let mut number = 0;
    while !stop.load(Ordering::Relaxed) {
        number += 1;
        let keyed = |n| event(number).keyed(format!("{caller} {number} {n}"));
        let mut batch: Vec<Event> = vec![event(number), keyed(1), keyed(2)];
        for tries in 1.. {
            assert!(tries < 100, "the database came back");
            match log.append(batch.clone()).await {
                Ok(answers) => {
                    assert!(tries > 1 || answers.iter().all(is_written), "its own retry is no duplicate");
                    break;
                }
                Err(error) => assert!(error.is_transient(), "{error}"),
            }
            if tries == 1 {
                known.maybe.insert(batch.remove(0).id.to_string());
            }
        }
        answered.fetch_add(1, Ordering::Relaxed);
        known.sent.extend(batch.iter().map(|e| e.id.to_string()));
    }
    known
}
