//! The way in that never blocks and never fails its caller: bounded, batched, retried, counted when dropped.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use mesh_six_core::{Event, EventSink, time::now};
use tokio::{
    sync::{Notify, watch},
    time::{Instant, sleep, timeout, timeout_at},
};
use tokio_util::sync::CancellationToken;
use tracing::warn;
use uuid::Uuid;

use super::{EventLog, entry::Entry, unit::BatchKey};
use crate::{error::DbError, metrics};

/// Most events that wait; what comes on top is dropped.
const CAPACITY: usize = 1_000;
/// So many are written without waiting for more.
const BATCH: usize = 200;
/// How long the first event of a batch waits for others.
const LINGER: Duration = Duration::from_millis(50);
/// The first and the longest pause while the database is away.
const PAUSES: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(5));
/// How long a result's transaction waits for a batch that holds some of its task's events.
const TASK_PATIENCE: Duration = Duration::from_secs(2);
/// How long closing waits.
const CLOSE_PATIENCE: Duration = Duration::from_secs(5);

/// A sink that writes to the log in the background. Its task ends with it.
pub struct DatabaseSink {
    shared: Arc<Shared>,
    ended: CancellationToken,
}

struct Shared {
    log: EventLog,
    state: Mutex<State>,
    /// There may be something to write.
    arrived: Notify,
    /// Counts the batches that came to an end.
    settled: watch::Sender<u64>,
    sent: AtomicU64,
    written: AtomicU64,
    dropped: AtomicU64,
}

#[derive(Default)]
struct State {
    /// Never attempted.
    pending: VecDeque<Event>,
    /// Tasks of the batch that is being written.
    attempted: Vec<Option<Uuid>>,
    /// Somebody waits for all of it.
    hurry: bool,
    /// Nothing is taken in any more.
    closed: bool,
}

/// What a sink has done since it was started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SinkCounters {
    /// Events handed over.
    pub sent: u64,
    /// Events on record.
    pub written: u64,
    /// Events that did not fit or could never be written.
    pub dropped: u64,
}

impl DatabaseSink {
    /// Starts the background writer.
    pub fn start(log: EventLog) -> Arc<Self> {
        let shared = Arc::new(Shared {
            log,
            state: Mutex::default(),
            arrived: Notify::new(),
            settled: watch::Sender::new(0),
            sent: AtomicU64::new(0),
            written: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
        });
        let ended = CancellationToken::new();
        let (background, end) = (shared.clone(), ended.clone());
        tokio::spawn(async move { end.run_until_cancelled(background.run()).await });
        Arc::new(Self { shared, ended })
    }

    /// The events of `task` that were never attempted, in order, for the transaction of the task's result; they are
    /// no longer the sink's. Waits up to two seconds for a batch in flight that holds others of them, so that these
    /// come after those.
    pub async fn take_task(&self, task: Uuid) -> Vec<Event> {
        let mut settled = self.shared.settled.subscribe();
        let mut taken = self.shared.lock().take(task);
        let waiting = async {
            while self.shared.lock().attempted.contains(&Some(task)) {
                if settled.changed().await.is_err() {
                    break;
                }
            }
        };
        if timeout(TASK_PATIENCE, waiting).await.is_err() {
            warn!(task.id = %task, "events of the task are still being written");
        }
        taken.extend(self.shared.lock().take(task));
        taken
    }

    /// Gives events of [`Self::take_task`] back, because the transaction was rolled back. They go first.
    pub fn put_back(&self, events: Vec<Event>) {
        let excess = {
            let mut state = self.shared.lock();
            for event in events.into_iter().rev() {
                state.pending.push_front(event);
            }
            let excess = state.pending.len().saturating_sub(CAPACITY);
            state.pending.truncate(CAPACITY);
            state.tell();
            excess
        };
        self.shared.drop_events(excess);
        self.shared.arrived.notify_one();
    }

    /// Waits until all that was sent is on record or dropped, at most `patience`. Returns whether it is.
    pub async fn flush(&self, patience: Duration) -> bool {
        let mut settled = self.shared.settled.subscribe();
        let waiting = async {
            loop {
                {
                    let mut state = self.shared.lock();
                    if state.pending.is_empty() && state.attempted.is_empty() {
                        return;
                    }
                    state.hurry = true;
                }
                self.shared.arrived.notify_one();
                if settled.changed().await.is_err() {
                    return;
                }
            }
        };
        timeout(patience, waiting).await.is_ok()
    }

    /// Flushes for at most five seconds and ends the background writer; what could not be written is counted as
    /// dropped.
    pub async fn close(&self) {
        self.flush(CLOSE_PATIENCE).await;
        self.ended.cancel();
        let left = {
            let mut state = self.shared.lock();
            state.closed = true;
            let left = std::mem::take(&mut state.pending).len() + std::mem::take(&mut state.attempted).len();
            state.tell();
            left
        };
        self.shared.drop_events(left);
    }

    /// What it has done so far.
    pub fn counters(&self) -> SinkCounters {
        SinkCounters {
            sent: self.shared.sent.load(Ordering::Relaxed),
            written: self.shared.written.load(Ordering::Relaxed),
            dropped: self.shared.dropped.load(Ordering::Relaxed),
        }
    }
}

impl EventSink for DatabaseSink {
    fn send(&self, event: Event) {
        self.shared.sent.fetch_add(1, Ordering::Relaxed);
        let waiting = {
            let mut state = self.shared.lock();
            if !state.closed && state.pending.len() + state.attempted.len() < CAPACITY {
                state.pending.push_back(event);
                state.tell();
            } else {
                drop(state);
                return self.shared.drop_events(1);
            }
            state.pending.len()
        };
        // The first one starts the wait for others, a whole batch ends it.
        if waiting == 1 || waiting == BATCH {
            self.shared.arrived.notify_one();
        }
    }
}

impl Drop for DatabaseSink {
    fn drop(&mut self) {
        self.ended.cancel();
    }
}

impl Shared {
    async fn run(&self) {
        loop {
            let batch = self.batch().await;
            self.write(batch).await;
            {
                let mut state = self.lock();
                state.attempted.clear();
                state.tell();
            }
            self.settled.send_modify(|count| *count = count.wrapping_add(1));
        }
    }

    /// Waits for events and lets others join them; from then on they are attempted.
    async fn batch(&self) -> Vec<Event> {
        while self.lock().pending.is_empty() {
            self.arrived.notified().await;
        }
        let deadline = Instant::now() + LINGER;
        while !self.lock().is_due() && timeout_at(deadline, self.arrived.notified()).await.is_ok() {}
        let mut state = self.lock();
        let count = state.pending.len().min(BATCH);
        let batch: Vec<Event> = state.pending.drain(..count).collect();
        state.attempted = batch.iter().map(|event| event.task_id).collect();
        state.hurry &= !state.pending.is_empty();
        batch
    }

    async fn write(&self, batch: Vec<Event>) {
        let mut entries = Vec::with_capacity(batch.len());
        for event in batch {
            let event_type = event.event_type.clone();
            match Entry::lenient(event, now()) {
                Ok(entry) => entries.push(entry),
                Err(refusal) => self.refused(&event_type, &refusal.into()),
            }
        }
        if let Err(error) = self.write_whole(&entries).await {
            if let [entry] = entries.as_slice() {
                return self.refused(&entry.event_type, &error);
            }
            // The database has refused the batch, so nothing of it is on record: one bad event fails alone.
            for entry in &entries {
                if let Err(error) = self.write_whole(std::slice::from_ref(entry)).await {
                    self.refused(&entry.event_type, &error);
                }
            }
        }
    }

    /// Tries until the database has answered. The key stays the same, so that the events are written once.
    async fn write_whole(&self, entries: &[Entry]) -> Result<(), DbError> {
        if entries.is_empty() {
            return Ok(());
        }
        let key = BatchKey::new();
        let mut pause = PAUSES.0;
        loop {
            match self.log.append_batch(entries.to_vec(), key.clone()).await {
                Ok(_) => {
                    self.written.fetch_add(entries.len() as u64, Ordering::Relaxed);
                    return Ok(());
                }
                Err(error) if error.is_transient() => {
                    if pause == PAUSES.0 {
                        warn!(error = %error, events = entries.len(), "the sink waits for the database");
                    }
                    sleep(pause).await;
                    pause = (pause * 2).min(PAUSES.1);
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn refused(&self, event_type: &str, error: &DbError) {
        warn!(event.type = event_type, error = %error, "an event could not be written");
        self.drop_events(1);
    }

    fn drop_events(&self, count: usize) {
        if count > 0 {
            self.dropped.fetch_add(count as u64, Ordering::Relaxed);
            metrics::dropped(count);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// How many events wait.
    fn tell(&self) {
        metrics::sink_depth(self.pending.len() + self.attempted.len());
    }

    /// Whether the batch need not wait for more.
    fn is_due(&self) -> bool {
        self.hurry || self.pending.len() >= BATCH
    }

    fn take(&mut self, task: Uuid) -> Vec<Event> {
        let (taken, kept) = self.pending.drain(..).partition(|event| event.task_id == Some(task));
        self.pending = kept;
        self.tell();
        Vec::from_iter::<VecDeque<Event>>(taken)
    }
}
