//! What happens to servers, connections, disks and clocks while the log is written. After each fault: what was sent
//! is stored and nothing else, no key twice, each writer's order kept, the chain intact.

mod boundary;
mod clock;
mod cut;
mod disk;
mod horizon;
mod kill;
mod sealers;
mod statement;

use std::{
    collections::HashSet,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use mesh_six_core::{Event, TraceId};
use mesh_six_db::{
    Database,
    events::{Appended, EventLog},
    seals::{self, SealOptions, VerifyOptions},
};
use mesh_six_testing::wait_until;
use serde_json::json;
use tokio::task::JoinHandle;
use tokio_postgres::Client;

/// Longer than any fault here lasts, on a busy machine too.
const SOON: Duration = Duration::from_mins(2);
/// Between two tries of a caller whose append failed.
const PAUSE: Duration = Duration::from_millis(10);

/// Callers that append until they are told to stop.
struct Load {
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicUsize>,
    failed: Arc<AtomicUsize>,
    callers: Vec<JoinHandle<Known>>,
}

/// What one caller knows of its events, by their ids.
#[derive(Default)]
struct Known {
    /// Answered: on record.
    sent: HashSet<String>,
    /// Keyless, and the answer was lost: not to be sent again, since nobody could tell that they were the same.
    maybe: HashSet<String>,
}

impl Load {
    /// `callers` of each log; each appends batches of one keyless and `keyed` keyed events, with `padding` bytes each.
    fn start(logs: &[EventLog], callers: usize, keyed: usize, padding: usize) -> Self {
        let (stop, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let failed = Arc::new(AtomicUsize::new(0));
        let all = (0..callers * logs.len()).map(|number| {
            let caller = Caller {
                log: logs[number % logs.len()].clone(),
                name: format!("caller-{number}"),
                keyed,
                padding: "x".repeat(padding),
                stop: stop.clone(),
                answered: answered.clone(),
                failed: failed.clone(),
            };
            tokio::spawn(caller.run())
        });
        Self { callers: all.collect(), stop, answered, failed }
    }

    /// Waits until so many batches more have been answered.
    async fn goes_on(&self, batches: usize) {
        let before = self.answered.load(Ordering::Relaxed);
        wait_until(SOON, async || self.answered.load(Ordering::Relaxed) >= before + batches).await;
    }

    /// Waits until so many appends more have failed.
    async fn fails(&self, appends: usize) {
        let before = self.failed.load(Ordering::Relaxed);
        wait_until(SOON, async || self.failed.load(Ordering::Relaxed) >= before + appends).await;
    }

    /// Ends the load and looks at what it left behind.
    async fn ends_whole(self, client: &Client, db: &Database) {
        self.stop.store(true, Ordering::Relaxed);
        let mut known = Known::default();
        for caller in self.callers {
            let Known { sent, maybe } = caller.await.unwrap();
            known.sent.extend(sent);
            known.maybe.extend(maybe);
        }
        let rows = "SELECT id::text, idempotency_key, agent_id, (payload->>'number')::bigint FROM mesh_six_events \
            WHERE agent_id LIKE 'caller-%' ORDER BY txid, seq";
        let rows = client.query(rows, &[]).await.unwrap();
        let ids: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
        let keys: Vec<String> = rows.iter().filter_map(|row| row.get(1)).collect();
        assert_eq!(keys.len(), keys.iter().collect::<HashSet<_>>().len(), "no key twice");
        assert_eq!(ids.len(), ids.iter().collect::<HashSet<_>>().len(), "no event twice");
        let stored: HashSet<String> = ids.into_iter().collect();
        assert!(known.sent.is_subset(&stored), "all that was answered is on record");
        assert!(stored.difference(&known.sent).all(|id| known.maybe.contains(id)), "and nothing that was not sent");
        let mut last = std::collections::HashMap::new();
        for row in &rows {
            let number: i64 = row.get(3);
            let before = last.insert(row.get::<_, String>(2), number);
            assert!(before.is_none_or(|before| before <= number), "each writer's order is kept");
        }
        is_sealed_and_intact(client, db).await;
    }
}

/// Seals everything and verifies it.
async fn is_sealed_and_intact(client: &Client, db: &Database) {
    let hidden = "SELECT EXISTS (SELECT FROM mesh_six_events WHERE txid >= mesh_six_horizon())";
    wait_until(SOON, async || !client.query_one(hidden, &[]).await.unwrap().get::<_, bool>(0)).await;
    wait_until(SOON, async || seals::seal(db, SealOptions::default()).await.is_ok()).await;
    let report = seals::verify(db, VerifyOptions::default(), |_| {}).await.unwrap();
    let rows: i64 = client.query_one("SELECT count(*) FROM mesh_six_events", &[]).await.unwrap().get(0);
    assert!(report.is_intact(), "{report:?}");
    assert_eq!((report.rows, report.unsealed.rows), (rows, 0), "{report:?}");
}

struct Caller {
    log: EventLog,
    name: String,
    keyed: usize,
    padding: String,
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicUsize>,
    failed: Arc<AtomicUsize>,
}

impl Caller {
    /// Keyed events are appended until they are answered, since that is safe.
    async fn run(self) -> Known {
        let mut known = Known::default();
        let mut number = 0;
        while !self.stop.load(Ordering::Relaxed) {
            number += 1;
            let mut batch = vec![self.event(number)];
            batch.extend((0..self.keyed).map(|n| self.event(number).keyed(format!("{} {number} {n}", self.name))));
            let begun = Instant::now();
            for tries in 1.. {
                match self.log.append(batch.clone()).await {
                    Ok(answers) => {
                        let written = answers.iter().all(|answer| matches!(answer, Appended::Written(_)));
                        assert!(tries > 1 || written, "the log's own retry is no duplicate");
                        break;
                    }
                    Err(error) => assert!(error.is_transient(), "{error}"),
                }
                self.failed.fetch_add(1, Ordering::Relaxed);
                assert!(begun.elapsed() < SOON, "the fault is over, and yet nothing is written");
                if tries == 1 {
                    known.maybe.insert(batch.remove(0).id.to_string());
                }
                tokio::time::sleep(PAUSE).await;
            }
            self.answered.fetch_add(1, Ordering::Relaxed);
            known.sent.extend(batch.iter().map(|e| e.id.to_string()));
        }
        known
    }

    fn event(&self, number: i64) -> Event {
        Event::new("test.load", &self.name, TraceId::new(), json!({ "number": number, "padding": self.padding }))
    }
}
