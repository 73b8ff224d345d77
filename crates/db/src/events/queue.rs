//! Group commit: callers queue, two writers each take all that is queued and commit it at once.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{Notify, OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

use super::{insert::CHUNK, metrics, unit::Unit};
use crate::error::{DbError, DbResult};

/// Most events that wait for a writer.
pub(crate) const CAPACITY: u32 = 10_000;
/// How long a caller waits for room.
const ROOM_WAIT: Duration = Duration::from_secs(2);

/// Units that wait, in the order in which they came.
pub(crate) struct Queue {
    waiting: Mutex<VecDeque<Unit>>,
    arrived: Notify,
    room: Arc<Semaphore>,
}

impl Queue {
    pub(crate) fn new() -> Self {
        Self { waiting: Mutex::default(), arrived: Notify::new(), room: Arc::new(Semaphore::new(CAPACITY as usize)) }
    }

    /// Room for `events`, or an answer soon that there is none. More than the queue holds takes all of it.
    pub(crate) async fn room(&self, events: usize) -> DbResult<OwnedSemaphorePermit> {
        let wanted = u32::try_from(events).unwrap_or(CAPACITY).min(CAPACITY);
        match timeout(ROOM_WAIT, self.room.clone().acquire_many_owned(wanted)).await {
            Ok(Ok(room)) => Ok(room),
            Ok(Err(_)) => Err(DbError::Unavailable("the event log is closed".to_owned())),
            Err(_) => Err(DbError::Unavailable("too many events wait to be written".to_owned())),
        }
    }

    /// Puts units at the end; they are written even if their callers go away.
    pub(crate) fn push(&self, units: impl IntoIterator<Item = Unit>) {
        self.lock().extend(units);
        self.arrived.notify_one();
        metrics::queue_depth(self.depth());
    }

    /// Waits for units and takes up to a statement's worth of them.
    pub(crate) async fn take(&self) -> Vec<Unit> {
        loop {
            let taken = self.take_now();
            if !taken.is_empty() {
                return taken;
            }
            self.arrived.notified().await;
        }
    }

    fn take_now(&self) -> Vec<Unit> {
        let mut waiting = self.lock();
        let mut taken: Vec<Unit> = Vec::new();
        let mut events = 0;
        while let Some(next) = waiting.front() {
            events += next.entries.len();
            let alone = next.batch_key.is_some();
            if !taken.is_empty() && (alone || events > CHUNK) {
                break;
            }
            taken.extend(waiting.pop_front());
            if alone {
                break;
            }
        }
        if !waiting.is_empty() {
            self.arrived.notify_one();
        }
        taken
    }

    /// Takes everything: what queued behind an outage would fare no better.
    pub(crate) fn take_all(&self) -> Vec<Unit> {
        self.lock().drain(..).collect()
    }

    /// Events that have been taken in and not been answered.
    pub(crate) fn depth(&self) -> usize {
        (CAPACITY as usize).saturating_sub(self.room.available_permits())
    }

    /// Refuses new events and waits, bounded, until all that were taken in are answered.
    pub(crate) async fn drain(&self, patience: Duration) {
        let all = timeout(patience, self.room.acquire_many(CAPACITY)).await;
        self.room.close();
        drop(all);
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Unit>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
