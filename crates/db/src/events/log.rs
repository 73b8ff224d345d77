//! The log's handle.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use chrono::{DateTime, Utc};
use futures_util::Stream;
use mesh_six_core::{
    ApiError, Event, StoredEvent,
    event::{EventFilter, Position},
};
use tokio::{
    sync::{Mutex, mpsc, oneshot},
    time::timeout,
};
use tokio_util::{
    sync::{CancellationToken, DropGuard},
    task::TaskTracker,
};

use super::{
    Appended,
    clock::Clock,
    driven::Driven,
    entry::Entry,
    follow,
    horizon::{self, HorizonReport, Observed},
    insert::CHUNK,
    queue::Queue,
    read,
    unit::{BatchKey, Unit, copy},
    wake::Waker,
    write::Writer,
    writers,
};
use crate::{
    error::{DbError, DbResult},
    pool::Database,
    retention::check_position,
};

/// Tasks that write. Two hide each other's commits; more gain nothing on one log.
const WRITERS: usize = 4;
/// Most events of one append: they are one transaction, and none may outlive a minute.
const MAX_APPEND: usize = 20_000;
/// How long closing waits for events that were taken in.
const CLOSE_PATIENCE: Duration = Duration::from_secs(10);

/// The event log of one database, for everyone in the process. Cheap to clone; its tasks end with the last clone.
#[derive(Clone)]
pub struct EventLog {
    inner: Arc<Inner>,
}

struct Inner {
    db: Database,
    queue: Arc<Queue>,
    waker: Waker,
    /// For callers who write themselves.
    lone: Arc<Mutex<Writer>>,
    /// For units that met a lock.
    locked: mpsc::UnboundedSender<Unit>,
    clock: Clock,
    observed: Observed,
    /// Started with the first follower.
    listening: OnceLock<()>,
    tasks: TaskTracker,
    ended: CancellationToken,
    _end: DropGuard,
}

impl EventLog {
    /// Starts the writers; they connect when there is something to write.
    pub fn start(db: Database) -> Self {
        let ended = CancellationToken::new();
        let (locked, met) = mpsc::unbounded_channel();
        let log = Self {
            inner: Arc::new(Inner {
                db: db.clone(),
                queue: Arc::new(Queue::new()),
                waker: Waker::new(),
                lone: Arc::new(Mutex::new(Writer::new(db.clone()))),
                locked,
                clock: Clock::default(),
                observed: Observed::default(),
                listening: OnceLock::new(),
                tasks: TaskTracker::new(),
                _end: ended.clone().drop_guard(),
                ended,
            }),
        };
        let inner = &log.inner;
        for _ in 0..WRITERS {
            inner.spawn(writers::run(db.clone(), inner.queue.clone(), inner.waker.clone(), inner.locked.clone()));
        }
        inner.spawn(writers::rest_when_idle(inner.lone.clone()));
        inner.spawn(writers::run_locked(db.clone(), inner.waker.clone(), met));
        inner.spawn(inner.waker.clone().run_notify(db));
        log
    }

    /// Appends `events`, at most 20,000, in the given order and returns once all are committed, in one transaction;
    /// concurrent calls share commits. One event that is refused refuses all. A caller that goes away leaves all or nothing behind.
    /// [`DbError::Unavailable`]: nothing was written, unless the connection was lost for good; keyed events are safe
    /// to append again.
    pub async fn append(&self, events: Vec<Event>) -> DbResult<Vec<Appended>> {
        if events.is_empty() {
            return Ok(Vec::new());
        }
        if events.len() > MAX_APPEND {
            return Err(ApiError::validation("events", format!("at most {MAX_APPEND} at once")).into());
        }
        let now = self.now().await?;
        let entries = events.into_iter().map(|e| Entry::checked(e, now)).collect::<Result<Vec<_>, _>>()?;
        self.enqueue(entries, None).await
    }

    /// Appends `events` where each stands alone: one answer per event. An event that is refused, or whose key
    /// somebody's open transaction holds ([`DbError::Locked`]), fails alone.
    pub async fn append_each(&self, events: Vec<Event>) -> Vec<DbResult<Appended>> {
        if events.is_empty() {
            return Vec::new();
        }
        let now = match self.now().await {
            Ok(now) => now,
            Err(error) => return events.iter().map(|_| Err(copy(&error))).collect(),
        };
        let mut answers: Vec<Option<DbResult<Appended>>> = Vec::with_capacity(events.len());
        let mut good = Vec::with_capacity(events.len());
        for event in events {
            match Entry::checked(event, now) {
                Ok(entry) => {
                    good.push(entry);
                    answers.push(None);
                }
                Err(refusal) => answers.push(Some(Err(refusal.into()))),
            }
        }
        let mut written = self.each(good).await.into_iter();
        answers.into_iter().map(|a| a.or_else(|| written.next()).unwrap_or_else(|| Err(closed()))).collect()
    }

    async fn each(&self, entries: Vec<Entry>) -> Vec<DbResult<Appended>> {
        let mut answers = Vec::with_capacity(entries.len());
        let mut entries = entries.into_iter().peekable();
        while entries.peek().is_some() {
            let part: Vec<Entry> = entries.by_ref().take(CHUNK).collect();
            let mut room = match self.inner.queue.room(part.len()).await {
                Ok(room) => room,
                Err(error) => {
                    answers.extend(part.iter().map(|_| Err(copy(&error))));
                    continue;
                }
            };
            let mut waiting = Vec::with_capacity(part.len());
            let units: Vec<Unit> = part
                .into_iter()
                .filter_map(|entry| {
                    let (reply, answer) = oneshot::channel();
                    waiting.push(answer);
                    Some(Unit { entries: vec![entry], batch_key: None, reply, room: room.split(1)? })
                })
                .collect();
            self.inner.queue.push(units);
            for answer in waiting {
                let answer = answer.await.unwrap_or_else(|_| Err(closed()));
                answers.push(answer.and_then(|a| a.first().copied().ok_or_else(closed)));
            }
        }
        answers
    }

    /// Writes `entries` under `key`, which the caller keeps until it knows the outcome.
    pub(crate) async fn append_batch(&self, entries: Vec<Entry>, key: BatchKey) -> DbResult<Vec<Appended>> {
        self.enqueue(entries, Some(key)).await
    }

    async fn enqueue(&self, entries: Vec<Entry>, batch_key: Option<BatchKey>) -> DbResult<Vec<Appended>> {
        let room = self.inner.queue.room(entries.len()).await?;
        let (reply, answer) = oneshot::channel();
        let unit = Unit { entries, batch_key, reply, room };
        if let Some(unit) = self.inner.write_alone(unit).await {
            self.inner.queue.push([unit]);
        }
        answer.await.unwrap_or_else(|_| Err(closed()))
    }

    /// Wakes followers, here and in other processes; for callers of [`super::append_in`] after their commit.
    pub fn wake(&self) {
        self.inner.waker.committed();
    }

    /// The events that meet all conditions of `filter`, in the log's order.
    pub async fn query(&self, filter: &EventFilter) -> DbResult<Vec<StoredEvent>> {
        let mut conn = self.inner.db.conn().await?;
        read::query(&mut conn, filter).await
    }

    /// The events of one aggregate (`task:{id}` or whatever their `aggregateId` says) in order, in constant memory.
    pub fn replay(
        &self,
        aggregate: &str,
        after: Option<Position>,
    ) -> impl Stream<Item = DbResult<StoredEvent>> + Send + 'static + use<> {
        read::replay(self.inner.db.clone(), aggregate.to_owned(), after)
    }

    /// All events after `from`, each once and in order, for ever: nothing is missed, whatever other writers do.
    /// Outages of the database only make a pause. The stream ends when the log is closed, or with an error: a
    /// position after which events were dropped is [`mesh_six_core::ErrorType::Gone`], with the first position that
    /// exists in its details.
    pub fn follow(&self, from: Position) -> impl Stream<Item = DbResult<StoredEvent>> + Send + 'static + use<> {
        let inner = &self.inner;
        inner.listening.get_or_init(|| {
            inner.spawn(inner.waker.clone().run_listen(inner.db.clone()));
            inner.spawn(horizon::watch(inner.db.clone(), inner.observed.clone()));
        });
        follow::follow(inner.db.clone(), &inner.waker, inner.ended.clone(), from)
    }

    /// The newest position that no event can still come before: following from it shows all that comes later.
    pub async fn head(&self) -> DbResult<Position> {
        let mut conn = self.inner.db.conn().await?;
        read::head(&mut conn).await
    }

    /// Refuses a position after which events were dropped, as [`Self::follow`] does with its first look: for callers
    /// who must answer before they read.
    pub async fn check(&self, position: Position) -> DbResult<()> {
        let mut conn = self.inner.db.conn().await?;
        check_position(&mut conn, position).await
    }

    /// How far behind the newest transaction the tail must stay, since when, and because of whom.
    pub async fn horizon(&self) -> DbResult<HorizonReport> {
        let mut conn = self.inner.db.conn().await?;
        horizon::report(&mut conn, &self.inner.observed).await
    }

    /// Writes what was taken in, for at most ten seconds, and ends the tasks. Later appends are refused.
    pub async fn close(&self) {
        self.inner.queue.drain(CLOSE_PATIENCE).await;
        self.inner.ended.cancel();
        self.inner.tasks.close();
        self.inner.tasks.wait().await;
        // Others may hold this log still, but it needs no connection any more.
        if let Ok(mut lone) = timeout(CLOSE_PATIENCE, self.inner.lone.lock()).await {
            lone.rest();
        }
    }

    async fn now(&self) -> DbResult<DateTime<Utc>> {
        self.inner.clock.now(&self.inner.db).await
    }
}

impl Inner {
    /// Writes `unit` in the caller's own task if there is nothing else to write: handing it over would cost as much
    /// as binding and sending it. Returns it otherwise.
    async fn write_alone(&self, unit: Unit) -> Option<Unit> {
        let Ok(mut writer) = self.lone.clone().try_lock_owned() else { return Some(unit) };
        let mut batch = match self.queue.alone(unit) {
            Ok(batch) => batch,
            Err(unit) => return Some(unit),
        };
        let (queue, waker, locked) = (self.queue.clone(), self.waker.clone(), self.locked.clone());
        let work = async move {
            let units = std::mem::take(&mut batch.units);
            writers::settle(&mut writer, units, &queue, &waker, &locked).await;
        };
        Driven::new(work, self.tasks.clone(), self.ended.clone()).await;
        None
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let ended = self.ended.clone();
        self.tasks.spawn(async move {
            ended.run_until_cancelled(task).await;
        });
    }
}

fn closed() -> DbError {
    DbError::Unavailable("the event log is closed".to_owned())
}
