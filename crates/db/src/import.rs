//! Restoring the log from an export: into an empty log only, everything as it was, all or nothing.
//!
//! Content beside the log and keys without an event (of batches) are not in an export and do not come back.

use std::collections::BTreeSet;

use chrono::{DateTime, Datelike, Utc};
use diesel::sql_types::{BigInt, Bool};
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection};
use mesh_six_core::{
    ApiError, ErrorType, StoredEvent, Validate,
    event::{EventKey, Position, check::MAX_PAYLOAD_BYTES, key},
};
use serde::Serialize;
use tokio::io::AsyncBufRead;

use crate::{
    clock,
    error::DbResult,
    export::{Line, TransferError, next_line},
    statement::{JsonText, Statement, Value},
};

/// Events of one statement.
const BATCH: usize = 1_000;
/// Bytes of payload in one statement, about.
const BATCH_BYTES: usize = 4 * 1024 * 1024;

/// How far an import is, or what it brought.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Imported {
    /// Events so far.
    pub rows: u64,
    /// Bytes of input so far.
    pub bytes: u64,
    /// Position of the last event.
    pub last: Option<Position>,
}

/// Reads the lines of an export from `input` and writes them with all their ids, keys, times and order, as the
/// owner ([`crate::owner`]). Partitions and buckets are made as needed; events that are written later follow the
/// imported ones. `progress` hears of each batch. Anything wrong leaves the log empty.
pub async fn import(
    conn: &mut AsyncPgConnection,
    input: &mut (impl AsyncBufRead + Unpin + Send),
    mut progress: impl FnMut(Imported) + Send,
) -> Result<Imported, TransferError> {
    conn.transaction::<_, TransferError, _>(async |conn| {
        claim_empty(conn).await?;
        let mut import = Import { now: clock::now(conn).await?, months: BTreeSet::new(), done: Imported::default() };
        loop {
            let (batch, ended) = import.read(input).await?;
            import.write(conn, &batch).await?;
            progress(import.done);
            if ended {
                break;
            }
        }
        if let Some(last) = import.done.last {
            follow(conn, last).await?;
            Statement::<()>::new("SELECT mesh_six_find_strays()").execute(conn).await?;
        }
        Ok(import.done)
    })
    .await
}

/// Keeps writers out until the end of the transaction; refuses a log that holds, held or vouches for anything.
async fn claim_empty(conn: &mut AsyncPgConnection) -> DbResult<()> {
    conn.batch_execute("LOCK TABLE mesh_six_events, mesh_six_event_keys IN EXCLUSIVE MODE").await?;
    let used = "SELECT EXISTS (SELECT FROM mesh_six_events) OR EXISTS (SELECT FROM mesh_six_event_keys) \
        OR EXISTS (SELECT FROM mesh_six_event_months) OR EXISTS (SELECT FROM mesh_six_event_seals)";
    let (used,): (bool,) = Statement::<(Bool,)>::new(used).get_result(conn).await?;
    if used {
        return Err(ApiError::new(
            ErrorType::Conflict,
            "the log is not empty: import into a new database or data folder, before a mesh starts on it",
        )
        .into());
    }
    Ok(())
}

struct Import {
    now: DateTime<Utc>,
    /// Months that have a partition and a bucket by now.
    months: BTreeSet<i32>,
    done: Imported,
}

/// One event of the input, made ready.
struct Entry {
    stored: StoredEvent,
    payload: String,
    key: Option<EventKey>,
}

impl Import {
    /// The next events of the input, and whether it has ended.
    async fn read(
        &mut self,
        input: &mut (impl AsyncBufRead + Unpin + Send),
    ) -> Result<(Vec<Entry>, bool), TransferError> {
        let (mut batch, mut line, mut bytes) = (Vec::with_capacity(BATCH), Vec::new(), 0);
        while batch.len() < BATCH && bytes < BATCH_BYTES {
            let number = self.done.rows + 1;
            let refused = |refusal| TransferError::Line { line: number, refusal };
            match next_line(input, &mut line).await.map_err(TransferError::Input)? {
                Line::End => return Ok((batch, true)),
                Line::Half => {
                    return Err(refused(ApiError::validation(
                        "file",
                        "ends in the middle of a line: export it to its end",
                    )));
                }
                Line::Whole => {}
            }
            let entry = self.entry(&line).map_err(refused)?;
            self.done.rows = number;
            self.done.bytes += line.len() as u64;
            self.done.last = Some(entry.stored.position);
            bytes += entry.payload.len();
            batch.push(entry);
        }
        Ok((batch, false))
    }

    fn entry(&self, line: &[u8]) -> Result<Entry, ApiError> {
        let stored: StoredEvent = serde_json::from_slice(line)
            .map_err(|error| ApiError::validation("file", format!("not an event of an export: {error}")))?;
        stored.event.validate()?;
        if stored.position != Position::of(stored.txid, stored.seq, stored.timestamp) {
            return Err(ApiError::validation("position", "does not agree with txid, seq and timestamp"));
        }
        if self.done.last.is_some_and(|last| (stored.txid, stored.seq) <= (last.txid, last.seq)) {
            return Err(ApiError::validation("position", "not after the event before it: the lines are out of order"));
        }
        let payload = stored.event.payload.to_string();
        // A payload that was cut keeps a little more than the bound.
        if payload.len() > 2 * MAX_PAYLOAD_BYTES {
            return Err(ApiError::validation("payload", "larger than the log keeps"));
        }
        let key = stored.event.idempotency_key.as_deref().map(|k| EventKey::parse(k, self.now)).transpose()?;
        Ok(Entry { stored, payload, key })
    }

    async fn write(&mut self, conn: &mut AsyncPgConnection, batch: &[Entry]) -> Result<(), TransferError> {
        if batch.is_empty() {
            return Ok(());
        }
        for entry in batch {
            let time = entry.stored.timestamp;
            self.make_month(conn, key::month(time), time.year(), time.month().cast_signed()).await?;
            if let Some(bucket) = entry.key.map(|key| key.bucket).filter(|bucket| *bucket != 0) {
                self.make_month(conn, bucket, bucket / 100, bucket % 100).await?;
            }
        }
        let keyed = batch.iter().filter(|entry| entry.key.is_some()).count();
        let kept = keys(batch).execute(conn).await?;
        if kept < keyed {
            let refusal = ApiError::validation("idempotencyKey", "two events of the file have one key");
            return Err(TransferError::Line { line: self.done.rows, refusal });
        }
        events(batch).execute(conn).await?;
        Ok(())
    }

    async fn make_month(&mut self, conn: &mut AsyncPgConnection, month: i32, year: i32, of_year: i32) -> DbResult<()> {
        if !self.months.insert(month) {
            return Ok(());
        }
        Statement::<()>::new("SELECT mesh_six_ensure_partitions(0, make_timestamptz(")
            .bind(Value::Int(year))
            .sql(", ")
            .bind(Value::Int(of_year))
            .sql(", 1, 0, 0, 0, 'UTC'))")
            .execute(conn)
            .await?;
        Ok(())
    }
}

fn keys(batch: &[Entry]) -> Statement<'_, ()> {
    let keyed = || batch.iter().filter_map(|entry| Some((entry.key?, entry.stored.event.id)));
    Statement::new("INSERT INTO mesh_six_event_keys (bucket, key_hash, event_id) SELECT * FROM unnest(")
        .bind(Value::Ints(keyed().map(|(key, _)| key.bucket).collect()))
        .sql(", ")
        .bind(Value::Ids(keyed().map(|(key, _)| key.hash).collect()))
        .sql(", ")
        .bind(Value::Ids(keyed().map(|(_, id)| id).collect()))
        .sql(") ON CONFLICT DO NOTHING")
}

fn events(batch: &[Entry]) -> Statement<'_, ()> {
    let stored = || batch.iter().map(|entry| &entry.stored);
    let event = || batch.iter().map(|entry| &entry.stored.event);
    Statement::new(
        "INSERT INTO mesh_six_events (seq, txid, timestamp, occurred_at, id, trace_id, task_id, agent_id, event_type, \
         event_version, payload, aggregate_id, idempotency_key) SELECT * FROM unnest(",
    )
    .bind(Value::Longs(stored().map(|e| e.seq).collect()))
    .sql(", ")
    .bind(Value::Longs(stored().map(|e| e.txid).collect()))
    .sql(", ")
    .bind(Value::Times(stored().map(|e| e.timestamp).collect()))
    .sql(", ")
    .bind(Value::Times(event().map(|e| e.occurred_at).collect()))
    .sql(", ")
    .bind(Value::Ids(event().map(|e| e.id).collect()))
    .sql(", ")
    .bind(Value::Ids(event().map(|e| e.trace_id.as_uuid()).collect()))
    .sql(", ")
    .bind(Value::OptionalIds(event().map(|e| e.task_id).collect()))
    .sql(", ")
    .bind(Value::Texts(event().map(|e| e.agent_id.as_str()).collect()))
    .sql(", ")
    .bind(Value::Texts(event().map(|e| e.event_type.as_str()).collect()))
    .sql(", ")
    .bind(Value::Ints(event().map(|e| e.event_version).collect()))
    .sql(", ")
    .bind(Value::Json(batch.iter().map(|entry| JsonText(&entry.payload)).collect()))
    .sql(", ")
    .bind(Value::OptionalTexts(event().map(|e| e.aggregate_id.as_deref()).collect()))
    .sql(", ")
    .bind(Value::OptionalTexts(event().map(|e| e.idempotency_key.as_deref()).collect()))
    .sql(")")
}

/// New events follow the imported ones, in their transaction and in their number.
async fn follow(conn: &mut AsyncPgConnection, last: Position) -> DbResult<()> {
    Statement::<()>::new("SELECT mesh_six_follow_txid(").bind(Value::Long(last.txid)).sql(")").execute(conn).await?;
    let next = "SELECT setval('mesh_six_events_seq', greatest((SELECT max(seq) FROM mesh_six_events), \
        (SELECT last_value FROM mesh_six_events_seq)))";
    let _: (i64,) = Statement::<(BigInt,)>::new(next).get_result(conn).await?;
    Ok(())
}
