//! One batch on one connection: written whole, again where the connection was lost, never twice.

use std::{
    collections::{BTreeSet, HashMap},
    time::Duration,
};

use chrono::{DateTime, Utc};
use diesel::sql_types::{BigInt, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection};
use mesh_six_core::event::Position;
use tokio::time::{sleep, timeout};
use uuid::Uuid;

use super::{Appended, buckets, entry::Entry, insert, unit::BatchKey};
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
/// The server's part of it.
const SESSION: &str = "SET statement_timeout = '6s'; SET plan_cache_mode = force_generic_plan";
/// How long a batch waits for other people's locks.
pub(crate) const LONG_WAIT: Duration = Duration::from_millis(200);
/// How long a part of it waits, once it is known that one is held.
pub(crate) const SHORT_WAIT: Duration = Duration::from_millis(50);
/// How much earlier than the first try the rows of a lost answer are looked for, for clocks that differ.
const LOST_SINCE: chrono::Duration = chrono::Duration::days(2);

/// A writer's own connection, which waits for other people's locks only briefly.
pub(crate) struct Writer {
    db: Database,
    conn: Option<AsyncPgConnection>,
    /// The connection's lock time-out.
    wait: Duration,
}

impl Writer {
    /// A writer that connects when it first has something to write.
    pub(crate) fn new(db: Database) -> Self {
        Self { db, conn: None, wait: Duration::ZERO }
    }

    /// Gives the connection up.
    pub(crate) fn rest(&mut self) {
        self.conn = None;
    }

    /// Of the key buckets `asked`, those that are gone for good; missing new ones are made.
    pub(crate) async fn gone(&mut self, asked: BTreeSet<i32>) -> DbResult<BTreeSet<i32>> {
        let result = match self.conn().await {
            Ok(conn) => buckets::gone(conn, asked).await,
            Err(error) => Err(error),
        };
        if result.is_err() {
            self.rest();
        }
        result
    }

    async fn conn(&mut self) -> DbResult<&mut AsyncPgConnection> {
        if self.conn.is_none() {
            let mut conn = self.db.dedicated().await?;
            conn.batch_execute(SESSION).await?;
            self.wait = Duration::ZERO;
            self.conn = Some(conn);
        }
        self.conn.as_mut().ok_or_else(|| DbError::Unavailable("no connection".to_owned()))
    }

    /// Writes all of `entries` in one transaction and returns once it is committed; one answer per entry, in order.
    /// Tries again where the server was away. `key` keeps entries without a key from being written twice.
    pub(crate) async fn write(
        &mut self,
        entries: &[&Entry],
        key: &BatchKey,
        wait: Duration,
    ) -> DbResult<Vec<Appended>> {
        let chunks = u32::try_from(entries.len() / insert::CHUNK).unwrap_or(u32::MAX);
        let patience = PATIENCE + PATIENCE_PER_CHUNK.saturating_mul(chunks);
        let mut lost = false;
        let mut pauses = PAUSES.into_iter();
        loop {
            let attempt = async {
                // A bucket that was taken for granted may be what was missing.
                if lost {
                    self.refuse_old(entries).await?;
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
            if !matches!(error, DbError::Locked) {
                self.conn = None;
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

    async fn attempt(&mut self, entries: &[&Entry], key: &BatchKey, wait: Duration) -> DbResult<Vec<Appended>> {
        self.wait_for_locks(wait).await?;
        let conn = self.conn().await?;
        let chunks = insert::chunks(entries);
        if let [chunk] = chunks.as_slice()
            && !insert::needs_transaction(entries)
        {
            return insert::write(conn, chunk, Some(key.of_chunk(0)?)).await;
        }
        conn.transaction::<_, DbError, _>(async |conn| {
            let mut appended = Vec::with_capacity(entries.len());
            for (number, chunk) in chunks.into_iter().enumerate() {
                appended.extend(insert::write(conn, chunk, Some(key.of_chunk(number)?)).await?);
            }
            Ok(appended)
        })
        .await
    }

    async fn refuse_old(&mut self, entries: &[&Entry]) -> DbResult<()> {
        let asked = buckets::asked(entries.iter().copied());
        if asked.is_empty() {
            return Ok(());
        }
        match self.gone(asked).await?.into_iter().next() {
            Some(bucket) => Err(buckets::too_old(bucket).into()),
            None => Ok(()),
        }
    }

    async fn wait_for_locks(&mut self, wait: Duration) -> DbResult<()> {
        self.conn().await?;
        if self.wait != wait {
            let conn = self.conn().await?;
            let setting = wait.as_millis().to_string();
            Statement::<(Text,)>::new("SELECT set_config('lock_timeout', ")
                .bind(Value::Text(&setting))
                .sql(", false)")
                .execute(conn)
                .await?;
            self.wait = wait;
        }
        Ok(())
    }

    /// After a lost answer, an event whose key is on record may have been written by the earlier try: then its
    /// row bears its id.
    async fn found(&mut self, entries: &[&Entry], mut appended: Vec<Appended>) -> DbResult<Vec<Appended>> {
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
        let rows: Vec<(Uuid, i64, i64, DateTime<Utc>)> = rows.load(self.conn().await?).await?;
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
