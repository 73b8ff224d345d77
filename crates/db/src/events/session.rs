//! A writer's own connection. It speaks tokio-postgres directly: what is sent a thousand times a second is bound
//! straight into the message, and the server's error codes tell what to do.

use std::{
    collections::HashMap,
    pin::pin,
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures_util::{
    SinkExt,
    future::{join, join3},
};
use tokio_postgres::{
    Client, Error, Row,
    types::{ToSql, Type},
};

use super::insert;
use crate::{
    error::{DbError, DbResult},
    pool::Database,
    statement::{Statement, Value},
};

/// How the session is set up. Generic plans, made while the tables may be small, must suit large ones as well; what a
/// writer reads it finds by an index. The lock outlives what the session does: whoever gets it afterwards knows that the
/// session is over and what became of its last statement.
const SETUP: &str = "SET statement_timeout = '6s'; SET plan_cache_mode = force_generic_plan; \
    SET enable_seqscan = off; SET enable_bitmapscan = off; ";
/// So long after a known key others are looked for, each before it is written. Where a key was taken for new and is
/// known, a whole batch is refused and written again: that happens at most once in this time.
const DOUBT: Duration = Duration::from_secs(3);
/// How long the end of an earlier session is waited for.
const END_PATIENCE: &str = "3s";

/// A connection with the statements that it has prepared.
pub(crate) struct Session {
    client: Client,
    prepared: HashMap<String, tokio_postgres::Statement>,
    /// The lock timeout that is set.
    wait: Option<Duration>,
    /// Of its own lock.
    lock: i64,
    /// The transaction that is open.
    open: Option<Transaction>,
    /// When a batch last held a key that was known.
    met_known: Instant,
    /// A key was taken for new and was not.
    mistaken: bool,
    /// No good for anything more.
    broken: bool,
}

struct Transaction {
    /// BEGIN goes out with its first statement.
    begun: bool,
    /// The highest number of a row that it wrote.
    newest: i64,
    /// Nothing comes after the next rows.
    last: bool,
}

impl Session {
    /// Connects.
    pub(crate) async fn open(db: &Database) -> DbResult<Self> {
        let client = db.client().await?;
        let lock = fastrand::i64(..);
        client.batch_execute(&format!("{SETUP} SELECT pg_advisory_lock({lock})")).await?;
        Ok(Self {
            client,
            prepared: HashMap::new(),
            wait: None,
            lock,
            open: None,
            met_known: Instant::now(),
            mistaken: false,
            broken: false,
        })
    }

    /// The number of the lock that is held as long as this session lives.
    pub(crate) fn lock(&self) -> i64 {
        self.lock
    }

    /// Waits, bounded, until the session that held `lock` has ended on the server.
    pub(crate) async fn outlive(&mut self, lock: i64) -> DbResult<()> {
        self.wait = None;
        let wait = format!(
            "SET lock_timeout = '{END_PATIENCE}'; SELECT pg_advisory_lock({lock}); SELECT pg_advisory_unlock({lock})"
        );
        match self.client.batch_execute(&wait).await.map_err(DbError::from) {
            Err(DbError::Locked) => Err(DbError::Unavailable("an earlier connection has not ended".to_owned())),
            done => done,
        }
    }

    /// How long statements wait for other people's locks from now on.
    pub(crate) async fn wait_for_locks(&mut self, wait: Duration) -> DbResult<()> {
        if self.wait != Some(wait) {
            self.client.batch_execute(&format!("SET lock_timeout = {}", wait.as_millis())).await?;
            self.wait = Some(wait);
        }
        Ok(())
    }

    /// Whether keys may be taken for new, since none was known for a while.
    pub(crate) fn trusts(&self) -> bool {
        self.met_known.elapsed() > DOUBT
    }

    /// Notes that a key of a batch was known.
    pub(crate) fn doubt(&mut self) {
        self.met_known = Instant::now();
    }

    /// Notes that a key may have been taken for new and was not.
    pub(crate) fn mistook(&mut self) {
        self.mistaken = self.trusts();
        self.doubt();
    }

    /// Whether it must be given up, although the server has answered.
    pub(crate) fn is_broken(&self) -> bool {
        self.broken
    }

    /// Whether the last statement failed only because a key was taken for new.
    pub(crate) fn was_mistaken(&mut self) -> bool {
        std::mem::take(&mut self.mistaken)
    }

    /// Opens a transaction.
    pub(crate) fn begin(&mut self) {
        self.open = Some(Transaction { begun: false, newest: 0, last: false });
    }

    /// Lets the open transaction end with the next rows, if they are copied.
    pub(crate) fn end_with_next(&mut self) {
        if let Some(open) = &mut self.open {
            open.last = true;
        }
    }

    /// Whether a transaction is open.
    pub(crate) fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// Notes what the open transaction has written.
    pub(crate) fn wrote(&mut self, rows: &[insert::Row]) {
        if let (Some(open), Some(last)) = (&mut self.open, rows.last()) {
            open.newest = last.0;
        }
    }

    /// The highest number of a row that the open transaction has written.
    pub(crate) fn newest(&self) -> i64 {
        self.open.as_ref().map_or(0, |open| open.newest)
    }

    /// Ends the open transaction, with all or nothing that it wrote.
    pub(crate) async fn end(&mut self, commit: bool) -> DbResult<()> {
        if self.open.take().is_some_and(|open| open.begun) && !self.broken {
            self.client.batch_execute(if commit { "COMMIT" } else { "ROLLBACK" }).await?;
        }
        Ok(())
    }

    /// The rows of a statement, which is prepared when it comes for the first time.
    pub(crate) async fn rows<R>(&mut self, statement: &Statement<'_, R>) -> Result<Vec<Row>, Error> {
        let (text, values) = statement.parts();
        let prepared = self.prepared(text, &values).await?;
        let values = bound(&values);
        let query = self.client.query(&prepared, &values);
        match &mut self.open {
            Some(open) if !open.begun => {
                open.begun = true;
                let (begun, rows) = join(self.client.batch_execute("BEGIN"), query).await;
                begun?;
                rows
            }
            _ => query.await,
        }
    }

    /// In the open transaction, sends `data` by the statement `copy`, in its binary form. Returns how many rows it were,
    /// and those of `after`, which goes out with the data.
    pub(crate) async fn copy<A>(
        &mut self,
        copy: &str,
        data: Bytes,
        after: &Statement<'_, A>,
    ) -> Result<(u64, Vec<Row>), Error> {
        let copy = self.prepared(copy.to_owned(), &[]).await?;
        let (text, values) = after.parts();
        let after = self.prepared(text, &values).await?;
        // A refusal of the COPY itself leaves tokio-postgres and the server out of step.
        self.broken = true;
        let mut sink = pin!(self.client.copy_in(&copy).await?);
        self.broken = false;
        sink.send(data).await?;
        let values = bound(&values);
        let asked = self.client.query(&after, &values);
        let last = self.open.as_ref().is_some_and(|open| open.last);
        let ended = async { if last { self.client.batch_execute("COMMIT").await } else { Ok(()) } };
        let (copied, after, ended) = join3(sink.finish(), asked, ended).await;
        if last {
            self.open = None;
        }
        let done = (copied?, after?);
        ended.map(|()| done)
    }

    async fn prepared(&mut self, text: String, values: &[&Value<'_>]) -> Result<tokio_postgres::Statement, Error> {
        if let Some(prepared) = self.prepared.get(&text) {
            return Ok(prepared.clone());
        }
        let types: Vec<Type> = values.iter().map(|value| value.kind()).collect();
        let prepared = self.client.prepare_typed(&text, &types).await?;
        Ok(self.prepared.entry(text).or_insert(prepared).clone())
    }
}

fn bound<'v>(values: &[&'v Value<'v>]) -> Vec<&'v (dyn ToSql + Sync)> {
    values.iter().map(|value| *value as _).collect()
}
