//! Callers that wait for the end of a task: woken in the process, with a look into the database behind it for
//! tasks that another orchestrator ends.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use uuid::Uuid;

type Map = HashMap<Uuid, (Arc<Notify>, usize)>;

/// All that wait.
#[derive(Debug)]
pub(crate) struct Waiters {
    tasks: Arc<Mutex<Map>>,
    room: Arc<Semaphore>,
}

/// One that waits; it leaves when dropped.
#[derive(Debug)]
pub(crate) struct Waiter {
    task: Uuid,
    /// Notified when the task ends.
    pub(crate) ended: Arc<Notify>,
    tasks: Arc<Mutex<Map>>,
    _room: OwnedSemaphorePermit,
}

fn locked(tasks: &Mutex<Map>) -> MutexGuard<'_, Map> {
    tasks.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Waiters {
    /// At most `limit` at once.
    pub(crate) fn new(limit: usize) -> Self {
        Self { tasks: Arc::default(), room: Arc::new(Semaphore::new(limit)) }
    }

    /// Begins to wait for `task`; `None` if too many do.
    pub(crate) fn join(&self, task: Uuid) -> Option<Waiter> {
        let room = Arc::clone(&self.room).try_acquire_owned().ok()?;
        let mut tasks = locked(&self.tasks);
        let (ended, count) = tasks.entry(task).or_default();
        *count += 1;
        Some(Waiter { task, ended: Arc::clone(ended), tasks: Arc::clone(&self.tasks), _room: room })
    }

    /// `task` has ended.
    pub(crate) fn wake(&self, task: Uuid) {
        if let Some((ended, _)) = locked(&self.tasks).get(&task) {
            ended.notify_waiters();
        }
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        let mut tasks = locked(&self.tasks);
        if let Some((_, count)) = tasks.get_mut(&self.task) {
            *count -= 1;
            if *count == 0 {
                tasks.remove(&self.task);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used)]

    use super::*;

    #[tokio::test]
    async fn waiters_are_woken_bounded_and_forgotten() {
        let waiters = Waiters::new(2);
        let task = Uuid::from_u128(1);
        let (a, b) = (waiters.join(task).unwrap(), waiters.join(task).unwrap());
        assert!(waiters.join(task).is_none(), "no room for a third");
        let (first, second) = (a.ended.notified(), b.ended.notified());
        waiters.wake(Uuid::from_u128(2));
        waiters.wake(task);
        first.await;
        second.await;
        drop((a, b));
        assert!(locked(&waiters.tasks).is_empty());
        assert!(waiters.join(task).is_some());
    }
}
