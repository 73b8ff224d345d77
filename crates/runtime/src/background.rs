//! The background tasks of a service: they end with its token, within a bound, and a panic in one is no secret.

use std::{panic::AssertUnwindSafe, time::Duration};

use ::metrics::counter;
use futures_util::FutureExt;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::metrics::PANICS;

/// How long a task that panicked rests before it runs again.
const REST: Duration = Duration::from_secs(1);

/// A group of background tasks that end together.
#[derive(Clone, Debug)]
pub struct Background {
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl Background {
    /// An empty group that ends with `parent`.
    pub fn new(parent: &CancellationToken) -> Self {
        Self { tasks: TaskTracker::new(), stop: parent.child_token() }
    }

    /// Cancelled when the group is to end; tasks watch it.
    pub fn token(&self) -> CancellationToken {
        self.stop.clone()
    }

    /// Runs `task` once. If it panics, that is logged and counted, and the other tasks go on.
    pub fn spawn(&self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn(async move {
            caught(name, task).await;
        });
    }

    /// Runs what `make` makes, and runs it anew after a panic, until it returns or the group ends: for relays and
    /// sweepers, without which a service looks well but does nothing.
    pub fn spawn_restarting<F>(&self, name: &'static str, mut make: impl FnMut() -> F + Send + 'static)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let stop = self.token();
        self.tasks.spawn(async move {
            while !caught(name, make()).await && !stop.is_cancelled() {
                let _ = tokio::time::timeout(REST, stop.cancelled()).await;
            }
        });
    }

    /// Tells all tasks to end and waits for them, at most `bound`; returns how many are still running then.
    pub async fn stop(&self, bound: Duration) -> usize {
        self.stop.cancel();
        self.tasks.close();
        let _ = tokio::time::timeout(bound, self.tasks.wait()).await;
        self.tasks.len()
    }
}

/// Runs `task`; whether it returned without a panic.
async fn caught(name: &'static str, task: impl Future<Output = ()>) -> bool {
    let returned = AssertUnwindSafe(task).catch_unwind().await.is_ok();
    if !returned {
        counter!(PANICS.name, "where" => name).increment(1);
        tracing::error!(task.name = name, "a background task panicked");
    }
    returned
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test that cannot go on should fail there")]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    };

    use super::*;

    #[tokio::test]
    async fn a_task_that_panics_runs_again_and_stopping_is_bounded() {
        let root = CancellationToken::new();
        let group = Background::new(&root);
        let runs = Arc::new(AtomicU32::new(0));
        let (counted, stop) = (runs.clone(), group.token());
        group.spawn_restarting("test", move || {
            let (run, stop) = (counted.fetch_add(1, Ordering::SeqCst), stop.clone());
            async move {
                assert!(run >= 1, "the first run panics");
                stop.cancelled().await;
            }
        });
        group.spawn("stuck", std::future::pending());
        tokio::time::timeout(Duration::from_mins(1), async {
            while runs.load(Ordering::SeqCst) < 2 {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        })
        .await
        .unwrap();
        assert_eq!(group.stop(Duration::from_millis(200)).await, 1, "only the stuck task is left");
        assert!(!root.is_cancelled(), "a group does not end its parent");
    }
}
