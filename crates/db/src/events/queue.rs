//! Group commit: callers queue, writers each take what is queued and commit it at once.
//!
//! A batch's cost is mostly its own and hardly its events', so a writer does not take the first few events that
//! come while another one writes: it gathers as many as that one has, or waits for its end. With nothing under way
//! an event is taken at once.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{Notify, OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

use super::{insert::CHUNK, unit::Unit};
use crate::{
    error::{DbError, DbResult},
    metrics,
};

/// Most events that wait for a writer.
pub(crate) const CAPACITY: u32 = 10_000;
/// So many writers take what there is; the others help only with a backlog, since more and smaller batches cost more.
const EAGER: usize = 2;
/// How long a writer gathers at most: a batch that takes longer has met a lock, and delays nobody else.
const GATHER: Duration = Duration::from_millis(10);
/// How long a caller waits for room.
const ROOM_WAIT: Duration = Duration::from_secs(2);

/// Units that wait, in the order in which they came.
pub(crate) struct Queue {
    lines: Mutex<Lines>,
    arrived: Notify,
    room: Arc<Semaphore>,
}

#[derive(Default)]
struct Lines {
    waiting: VecDeque<Unit>,
    /// Events in `waiting`.
    events: usize,
    /// Batches that are being written, and their events.
    batches: usize,
    under_way: usize,
}

/// Units that a writer has taken. Dropped when they are settled.
pub(crate) struct Batch {
    pub(crate) units: Vec<Unit>,
    events: usize,
    queue: Arc<Queue>,
}

impl Drop for Batch {
    fn drop(&mut self) {
        let mut lines = self.queue.lock();
        lines.batches -= 1;
        lines.under_way -= self.events;
        metrics::queue_depth(lines.events + lines.under_way);
        if !lines.waiting.is_empty() {
            self.queue.arrived.notify_one();
        }
    }
}

impl Lines {
    /// Whether what waits is worth a batch of its own.
    fn worth_it(&self) -> bool {
        match self.batches {
            0 => true,
            batches if batches < EAGER => self.events * batches >= self.under_way,
            _ => self.events >= CHUNK,
        }
    }
}

impl Queue {
    pub(crate) fn new() -> Self {
        Self { lines: Mutex::default(), arrived: Notify::new(), room: Arc::new(Semaphore::new(CAPACITY as usize)) }
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
        let mut lines = self.lock();
        let first = lines.waiting.is_empty();
        for unit in units {
            lines.events += unit.entries.len();
            lines.waiting.push_back(unit);
        }
        if first || lines.worth_it() {
            self.arrived.notify_one();
        }
        metrics::queue_depth(lines.events + lines.under_way);
    }

    /// A batch of `unit` alone, for its caller to write, if nothing waits or is under way.
    pub(crate) fn alone(self: &Arc<Self>, unit: Unit) -> Result<Batch, Unit> {
        let mut lines = self.lock();
        if lines.batches > 0 || !lines.waiting.is_empty() {
            return Err(unit);
        }
        let events = unit.entries.len();
        lines.batches += 1;
        lines.under_way += events;
        Ok(Batch { units: vec![unit], events, queue: self.clone() })
    }

    /// Waits for units and takes up to a statement's worth of them.
    pub(crate) async fn take(self: &Arc<Self>) -> Batch {
        let mut gathered = false;
        loop {
            if let Some(taken) = self.take_now(gathered) {
                return taken;
            }
            gathered = if self.lock().waiting.is_empty() {
                self.arrived.notified().await;
                false
            } else {
                timeout(GATHER, self.arrived.notified()).await.is_err()
            };
        }
    }

    fn take_now(self: &Arc<Self>, gathered: bool) -> Option<Batch> {
        let mut lines = self.lock();
        if lines.waiting.is_empty() || !(gathered || lines.worth_it()) {
            return None;
        }
        let (mut units, mut events): (Vec<Unit>, usize) = (Vec::new(), 0);
        while let Some(next) = lines.waiting.front() {
            let alone = next.batch_key.is_some();
            if !units.is_empty() && (alone || events + next.entries.len() > CHUNK) {
                break;
            }
            events += next.entries.len();
            units.extend(lines.waiting.pop_front());
            if alone {
                break;
            }
        }
        lines.events -= events;
        lines.batches += 1;
        lines.under_way += events;
        if !lines.waiting.is_empty() && lines.worth_it() {
            self.arrived.notify_one();
        }
        Some(Batch { units, events, queue: self.clone() })
    }

    /// Takes everything: what queued behind an outage would fare no better.
    pub(crate) fn take_all(&self) -> Vec<Unit> {
        let mut lines = self.lock();
        lines.events = 0;
        metrics::queue_depth(lines.under_way);
        lines.waiting.drain(..).collect()
    }

    /// Refuses new events and waits, bounded, until all that were taken in are answered.
    pub(crate) async fn drain(&self, patience: Duration) {
        let all = timeout(patience, self.room.acquire_many(CAPACITY)).await;
        self.room.close();
        drop(all);
    }

    fn lock(&self) -> MutexGuard<'_, Lines> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test that cannot go on must fail")]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_full_queue_makes_callers_wait_and_then_says_so() {
        let queue = Queue::new();
        // More than the queue holds takes all of it.
        let all = queue.room(2 * CAPACITY as usize).await.unwrap();
        assert_eq!(queue.room.available_permits(), 0);
        let full = queue.room(1).await.unwrap_err();
        assert!(matches!(&full, DbError::Unavailable(why) if why == "too many events wait to be written"), "{full:?}");
        // Who waits gets what becomes free.
        let (next, ()) = tokio::join!(queue.room(3), async { drop(all) });
        let next = next.unwrap();
        assert_eq!((next.num_permits(), queue.room.available_permits()), (3, CAPACITY as usize - 3));
    }
}
