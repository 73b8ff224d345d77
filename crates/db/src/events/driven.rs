//! Work that its caller drives itself, without handing it to another task, and that is finished all the same if the
//! caller goes away.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use tokio::runtime::Handle;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// Work to be awaited. Dropped before its end, it goes on in a task of its own.
pub(crate) struct Driven {
    work: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    tasks: TaskTracker,
    ended: CancellationToken,
}

impl Driven {
    /// `work`, which becomes one of `tasks` if it must, and then ends with `ended`.
    pub(crate) fn new(
        work: impl Future<Output = ()> + Send + 'static,
        tasks: TaskTracker,
        ended: CancellationToken,
    ) -> Self {
        Self { work: Some(Box::pin(work)), tasks, ended }
    }
}

impl Future for Driven {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let Some(work) = &mut self.work else { return Poll::Ready(()) };
        let polled = work.as_mut().poll(context);
        if polled.is_ready() {
            self.work = None;
        }
        polled
    }
}

impl Drop for Driven {
    fn drop(&mut self) {
        if let Some(work) = self.work.take()
            && let Ok(runtime) = Handle::try_current()
        {
            let ended = self.ended.clone();
            let work = async move {
                ended.run_until_cancelled(work).await;
            };
            self.tasks.spawn_on(work, &runtime);
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn what_its_caller_leaves_is_finished() {
        let (tasks, ended) = (TaskTracker::new(), CancellationToken::new());
        let (go, went) = oneshot::channel::<()>();
        let (tell, told) = oneshot::channel();
        let work = async move {
            let _ = went.await;
            let _ = tell.send(7);
        };
        let mut driven = Box::pin(Driven::new(work, tasks.clone(), ended));
        assert!(futures_util::poll!(driven.as_mut()).is_pending());
        drop(driven);
        assert!(go.send(()).is_ok());
        assert_eq!(told.await, Ok(7));
        tasks.close();
        tasks.wait().await;
    }
}
