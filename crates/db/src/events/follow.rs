//! The safe tail (events.md §4): in the order (txid, seq), only below the horizon, where nothing can appear
//! any more.

use std::{collections::VecDeque, time::Duration};

use diesel::sql_types::Bool;
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use futures_util::{Stream, stream};
use mesh_six_core::{StoredEvent, event::Position};
use tokio::{
    sync::watch,
    time::{Instant, sleep, sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::{read, wake::Waker};
use crate::{
    error::DbResult,
    pool::Database,
    retention::check_position,
    statement::{Statement, Value},
};

/// Rows of one page.
const PAGE: i64 = 1_000;
/// The least time between two looks when the last one found less than a page: a busy writer wakes more often.
const LOOK_PAUSE: Duration = Duration::from_millis(10);
/// The first pause while rows are there that may not be shown yet; it doubles up to the next.
const HELD_PAUSE: Duration = Duration::from_millis(20);
/// The pause while there is nothing new, if nobody wakes.
const IDLE_PAUSE: Duration = Duration::from_secs(1);
/// The first and the longest pause while the database is away.
const OUTAGE_PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

pub(crate) fn follow(
    db: Database,
    waker: &Waker,
    ended: CancellationToken,
    from: Position,
) -> impl Stream<Item = DbResult<StoredEvent>> + Send + 'static + use<> {
    let start = Some(Follower {
        db,
        woken: waker.subscribe(),
        at: from,
        page: VecDeque::new(),
        checked: false,
        looked: Instant::now(),
        held: HELD_PAUSE,
        outage: OUTAGE_PAUSES.0,
    });
    stream::unfold((start, ended), |(follower, ended)| async move {
        let mut follower = follower?;
        match ended.run_until_cancelled(follower.next()).await? {
            Ok(event) => Some((Ok(event), (Some(follower), ended))),
            Err(error) => Some((Err(error), (None, ended))),
        }
    })
}

struct Follower {
    db: Database,
    woken: watch::Receiver<u64>,
    at: Position,
    page: VecDeque<StoredEvent>,
    /// Whether the position is known to be one whose successors are all there.
    checked: bool,
    looked: Instant,
    held: Duration,
    outage: Duration,
}

impl Follower {
    async fn next(&mut self) -> DbResult<StoredEvent> {
        loop {
            if let Some(event) = self.page.pop_front() {
                return Ok(event);
            }
            match self.look().await {
                Ok(wait) => self.wait(wait).await,
                Err(error) if error.is_transient() => {
                    if self.outage == OUTAGE_PAUSES.0 {
                        warn!(error = %error, "the tail waits for the database");
                    }
                    sleep(self.outage).await;
                    self.outage = (self.outage * 2).min(OUTAGE_PAUSES.1);
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Fills the page; says how long to wait if it stays empty.
    async fn look(&mut self) -> DbResult<Duration> {
        let mut conn = self.db.conn().await?;
        if !self.checked {
            check_position(&mut conn, self.at).await?;
            self.checked = true;
        }
        // Whatever is written from now on wakes again.
        self.woken.mark_unchanged();
        self.looked = Instant::now();
        self.page = page(&mut conn, self.at).await?.into();
        self.outage = OUTAGE_PAUSES.0;
        if let Some(last) = self.page.back() {
            self.at = last.position;
            self.held = HELD_PAUSE;
            return Ok(Duration::ZERO);
        }
        if !rows_above(&mut conn, self.at).await? {
            self.held = HELD_PAUSE;
            return Ok(IDLE_PAUSE);
        }
        let wait = self.held;
        self.held = (self.held * 2).min(IDLE_PAUSE);
        Ok(wait)
    }

    async fn wait(&mut self, wait: Duration) {
        if wait.is_zero() {
            return;
        }
        if let Ok(Ok(())) = timeout(wait, self.woken.changed()).await {
            self.held = HELD_PAUSE;
            sleep_until(self.looked + LOOK_PAUSE).await;
        }
    }
}

async fn page(conn: &mut AsyncPgConnection, after: Position) -> DbResult<Vec<StoredEvent>> {
    read::load(conn, select(after)).await
}

fn select(after: Position) -> Statement<'static, read::Columns> {
    let query = read::beyond(Statement::new(read::SELECT), after);
    query.sql(" AND txid < mesh_six_horizon() ORDER BY txid, seq LIMIT ").bind(Value::Long(PAGE))
}

/// Whether there are rows that the horizon still hides.
async fn rows_above(conn: &mut AsyncPgConnection, after: Position) -> DbResult<bool> {
    let query = Statement::<(Bool,)>::new("SELECT EXISTS (SELECT FROM mesh_six_events WHERE ");
    let (above,): (bool,) = read::beyond(query, after).sql(")").get_result(conn).await?;
    Ok(above)
}

#[cfg(test)]
mod tests {
    use diesel::{debug_query, pg::Pg};
    use mesh_six_core::time;

    use super::*;

    #[test]
    fn statement_of_a_page() {
        let query = debug_query::<Pg, _>(&select(Position::of(7, 8, time::now()))).to_string();
        let query = query.split(" -- binds").next().unwrap_or_default().replace(read::SELECT, "SELECT ... WHERE ");
        insta::assert_snapshot!(query);
    }
}
