//! One batch on one connection: written whole, again where the connection was lost, never twice.

use std::{
    collections::{BTreeSet, HashMap},
    time::Duration,
};

use chrono::{DateTime, Utc};
use diesel::sql_types::{BigInt, Timestamptz, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use mesh_six_core::event::Position;
use tokio::time::{sleep, timeout};
use uuid::Uuid;

use super::{Appended, buckets, entry::Entry, insert, session::Session, unit::BatchKey};
use crate::{
    error::{DbError, DbResult},
    pool::Database,
    statement::{Statement, Value},
};

/// The pauses before the second and the third try.
const PAUSES: [Duration; 2] = [Duration::from_millis(100), Duration::from_millis(900)];
/// A try that takes longer has met a server that does not answer. The server gives up first.
const PATIENCE: Duration = Duration::from_secs(8);
/// What is added to it for each statement after the first.
const PATIENCE_PER_CHUNK: Duration = Duration::from_secs(1);
/// How long a batch waits for other people's locks.
pub(crate) const LONG_WAIT: Duration = Duration::from_millis(200);
/// How long a part of it waits, once it is known that one is held.
pub(crate) const SHORT_WAIT: Duration = Duration::from_millis(50);
/// How much earlier than the first try the rows of a lost answer are looked for, for clocks that differ.
const LOST_SINCE: chrono::Duration = chrono::Duration::days(2);

/// A writer with a connection of its own, which waits for other people's locks only briefly.
pub(crate) struct Writer {
    db: Database,
    session: Option<Session>,
    /// The lock of the last session that was lost.
    lost: Option<i64>,
    used: bool,
}

impl Writer {
    /// A writer that connects when it first has something to write.
    pub(crate) fn new(db: Database) -> Self {
        Self { db, session: None, lost: None, used: false }
    }

    /// Gives the connection up.
    pub(crate) fn rest(&mut self) {
        self.session = None;
    }

    /// Of the key buckets `asked`, those that are gone for good; missing new ones are made.
    pub(crate) async fn gone(&self, asked: BTreeSet<i32>) -> DbResult<BTreeSet<i32>> {
        buckets::gone(&mut *self.db.conn().await?, asked).await
    }

    /// Gives the connection up if nothing was written since this was last called.
    pub(crate) fn rest_if_idle(&mut self) {
        if !std::mem::take(&mut self.used) {
            self.rest();
        }
    }

    async fn session(&mut self) -> DbResult<&mut Session> {
        if self.session.is_none() {
            self.session = Some(Session::open(&self.db).await?);
        }
        self.session.as_mut().ok_or_else(|| DbError::Unavailable("no connection".to_owned()))
    }

    /// Writes all of `entries` in one transaction and returns once it is committed; one answer per entry, in order.
    /// Tries again where the server was away. `key` keeps entries without a key from being written twice; one entry
    /// alone needs none, since its row is looked for before it is written again.
    pub(crate) async fn write(
        &mut self,
        entries: &[&Entry],
        key: Option<&BatchKey>,
        wait: Duration,
    ) -> DbResult<Vec<Appended>> {
        let chunks = u32::try_from(entries.len() / insert::CHUNK).unwrap_or(u32::MAX);
        let patience = PATIENCE + PATIENCE_PER_CHUNK.saturating_mul(chunks);
        self.used = true;
        let mut lost = false;
        let mut pauses = PAUSES.into_iter();
        loop {
            let attempt = async {
                // A bucket that was taken for granted may be what was missing.
                if lost {
                    self.refuse_old(entries).await?;
                    if let (None, [entry]) = (key, entries)
                        && let Some(appended) = self.survived(entry).await?
                    {
                        return Ok(vec![appended]);
                    }
                }
                self.attempt(entries, key, wait).await
            };
            let result = match timeout(patience, attempt).await {
                Ok(result) => result,
                Err(_) => Err(DbError::Unavailable(format!("no answer within {} s", patience.as_secs()))),
            };
            let result = match result {
                Ok(appended) if lost => self.found(entries, appended).await,
                result => result,
            };
            let error = match result {
                Ok(appended) => return Ok(appended),
                Err(error) => error,
            };
            if self.session.as_ref().is_some_and(Session::is_broken) && matches!(error, DbError::Locked) {
                // It has written nothing, so nobody need wait for its end.
                self.session = None;
            }
            if !matches!(error, DbError::Locked)
                && let Some(session) = self.session.take()
            {
                self.lost = Some(session.lock());
            }
            // What holds the lock may be the try whose answer was lost, so a batch that may be on record is not
            // cut into smaller ones with keys of their own.
            let again = matches!(error, DbError::Unavailable(_)) || (lost && matches!(error, DbError::Locked));
            match pauses.next() {
                Some(pause) if again => sleep(pause).await,
                _ if again => return Err(DbError::Unavailable(error.to_string())),
                _ => return Err(error),
            }
            lost = true;
        }
    }

    async fn attempt(&mut self, entries: &[&Entry], key: Option<&BatchKey>, wait: Duration) -> DbResult<Vec<Appended>> {
        match self.transaction(entries, key, wait).await {
            Err(_) if self.session.as_mut().is_some_and(Session::was_mistaken) => {
                self.transaction(entries, key, wait).await
            }
            done => done,
        }
    }

    async fn transaction(
        &mut self,
        entries: &[&Entry],
        key: Option<&BatchKey>,
        wait: Duration,
    ) -> DbResult<Vec<Appended>> {
        let session = self.session().await?;
        session.wait_for_locks(wait).await?;
        let of_chunk = |chunk| key.map(|key| key.of_chunk(chunk)).transpose();
        let chunks = insert::chunks(entries);
        if let [chunk] = chunks.as_slice()
            && !insert::needs_transaction(chunk, of_chunk(0)?)
        {
            return insert::write(session, chunk, of_chunk(0)?).await;
        }
        session.begin();
        let mut appended = Vec::with_capacity(entries.len());
        let last = chunks.len() - 1;
        for (number, chunk) in chunks.into_iter().enumerate() {
            if number == last && !insert::has_contents(chunk) {
                session.end_with_next();
            }
            match insert::write(session, chunk, of_chunk(number)?).await {
                Ok(written) => appended.extend(written),
                Err(error) => {
                    session.end(false).await?;
                    return Err(error);
                }
            }
        }
        session.end(true).await?;
        Ok(appended)
    }

    /// What became of `entry`, which has no key and was given to a session that was lost: its row, if there is one.
    async fn survived(&mut self, entry: &Entry) -> DbResult<Option<Appended>> {
        let Some(lost) = self.lost else { return Ok(None) };
        self.session().await?.outlive(lost).await?;
        let found = self.found(&[entry], vec![Appended::Duplicate]).await?;
        Ok(found.into_iter().find(|appended| matches!(appended, Appended::Written(_))))
    }

    async fn refuse_old(&self, entries: &[&Entry]) -> DbResult<()> {
        let asked = buckets::asked(entries.iter().copied());
        if asked.is_empty() {
            return Ok(());
        }
        match self.gone(asked).await?.into_iter().next() {
            Some(bucket) => Err(buckets::too_old(bucket).into()),
            None => Ok(()),
        }
    }

    /// After a lost answer, an event whose key is on record may have been written by the earlier try: then its
    /// row bears its id.
    async fn found(&self, entries: &[&Entry], mut appended: Vec<Appended>) -> DbResult<Vec<Appended>> {
        let known = || entries.iter().zip(&appended).filter(|(_, a)| **a == Appended::Duplicate).map(|(e, _)| *e);
        let since = known().map(|e| e.occurred_at).min().unwrap_or_default() - LOST_SINCE;
        let rows = Statement::<(SqlUuid, BigInt, BigInt, Timestamptz)>::new(
            "SELECT id, txid, seq, timestamp FROM mesh_six_events WHERE trace_id = ANY(",
        )
        .bind(Value::Ids(known().map(|e| e.trace_id).collect()))
        .sql(") AND id = ANY(")
        .bind(Value::Ids(known().map(|e| e.id).collect()))
        .sql(") AND timestamp >= ")
        .bind(Value::Time(since));
        let rows: Vec<(Uuid, i64, i64, DateTime<Utc>)> = rows.load(&mut *self.db.conn().await?).await?;
        let found: HashMap<Uuid, Position> =
            rows.into_iter().map(|(id, txid, seq, timestamp)| (id, Position::of(txid, seq, timestamp))).collect();
        for (entry, appended) in entries.iter().zip(&mut appended) {
            if let (Appended::Duplicate, Some(position)) = (*appended, found.get(&entry.id)) {
                *appended = Appended::Written(*position);
            }
        }
        Ok(appended)
    }
}
