//! Waking followers: in this process at once, in others by NOTIFY, at most twenty times a second.

use std::{sync::Arc, time::Duration};

use diesel_async::{AsyncPgConnection, SimpleAsyncConnection};
use futures_util::StreamExt;
use tokio::{
    sync::{Notify, watch},
    time::sleep,
};
use tracing::debug;

use crate::{error::DbResult, pool::Database};

/// The least time between two notifications of one process. Each takes a lock of the whole database at commit.
const NOTIFY_PAUSE: Duration = Duration::from_millis(50);
/// The longest pause between two tries to listen.
const LISTEN_PAUSE: Duration = Duration::from_secs(5);

/// Tells followers that something may have been written.
#[derive(Clone)]
pub(crate) struct Waker {
    /// Counts the reasons to look.
    count: watch::Sender<u64>,
    /// Set when other processes have not been told yet.
    untold: Arc<Notify>,
}

impl Waker {
    pub(crate) fn new() -> Self {
        Self { count: watch::Sender::new(0), untold: Arc::new(Notify::new()) }
    }

    /// After a commit of this process.
    pub(crate) fn committed(&self) {
        self.wake();
        self.untold.notify_one();
    }

    /// Changes whenever there is a reason to look.
    pub(crate) fn subscribe(&self) -> watch::Receiver<u64> {
        self.count.subscribe()
    }

    fn wake(&self) {
        self.count.send_modify(|count| *count = count.wrapping_add(1));
    }

    /// Tells other processes, for ever. A lost notification costs a follower its polling interval, no more.
    pub(crate) async fn run_notify(self, db: Database) {
        loop {
            self.untold.notified().await;
            if let Err(error) = notify(&db).await {
                debug!(error = %error, "followers elsewhere were not notified");
            }
            sleep(NOTIFY_PAUSE).await;
        }
    }

    /// Hears other processes, for ever, on one connection for all followers of this process.
    pub(crate) async fn run_listen(self, db: Database) {
        let mut pause = NOTIFY_PAUSE;
        loop {
            if let Ok(mut conn) = listen(&db).await {
                pause = NOTIFY_PAUSE;
                // Something may have been written while nobody listened.
                self.wake();
                let mut notifications = std::pin::pin!(conn.notifications_stream());
                while let Some(Ok(_)) = notifications.next().await {
                    self.wake();
                }
            }
            sleep(pause).await;
            pause = (pause * 2).min(LISTEN_PAUSE);
        }
    }
}

async fn notify(db: &Database) -> DbResult<()> {
    let mut conn = db.conn().await?;
    // It is only a hint, so it does not wait for the disk, nor make others wait.
    let notify = "BEGIN; SET LOCAL synchronous_commit = off; NOTIFY mesh_six_events; COMMIT";
    conn.batch_execute(notify).await?;
    Ok(())
}

async fn listen(db: &Database) -> DbResult<AsyncPgConnection> {
    let mut conn = db.dedicated().await?;
    conn.batch_execute("LISTEN mesh_six_events").await?;
    Ok(conn)
}
