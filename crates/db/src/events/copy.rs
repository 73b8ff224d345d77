//! Large batches by COPY: whole pages go into the log at once, which an INSERT of many rows cannot do.
//!
//! Three statements in the writer's transaction. The keys go first, as in an INSERT, and tell which rows are new. What
//! they say and the database's clock decide on what is copied. The copied rows are then read by their transaction, in
//! the order in which they were numbered, since COPY answers with their count alone.

use std::collections::HashSet;

use bytes::{BufMut, Bytes, BytesMut};
use chrono::{DateTime, TimeDelta, Utc};
use diesel::sql_types::{Timestamptz, Uuid as SqlUuid};
use mesh_six_core::event::{EventKey, check::MAX_AHEAD};
use uuid::Uuid;

use super::{
    entry::Entry,
    insert::{self, Returned, Row},
    keys::Keys,
    session::Session,
};
use crate::{
    error::{DbError, DbResult},
    statement::{JSONB_VERSION, Statement, Value},
};

/// From so many rows on it pays: there are two round trips more.
pub(crate) const MIN_ROWS: usize = 200;

/// What the statement tells that notes the keys: one that was new, and the database's clock.
pub(crate) type Noted = (SqlUuid, Timestamptz);

const COPY: &str = "COPY mesh_six_events (occurred_at, id, trace_id, task_id, agent_id, event_type, event_version, \
    payload, aggregate_id, idempotency_key) FROM STDIN BINARY";
/// What the binary form begins with: a signature, no flags, no extension.
const HEADER: [u8; 19] = *b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
/// Fields of a row, and the end.
const FIELDS: i16 = 10;
const END: i16 = -1;
/// The length of a field that is NULL.
const NULL: i32 = -1;
/// From 1970 to 2000, from where PostgreSQL counts.
const EPOCH: TimeDelta = TimeDelta::days(10_957);

/// Copies `rows`, each of which has a key of its own or that of the batch, in the transaction that is open. `keys` notes
/// these keys. Returns what was written, in order.
pub(crate) async fn write(
    session: &mut Session,
    rows: &[&Entry],
    batch: Option<EventKey>,
    sure: Keys,
    keys: &Statement<'_, Noted>,
) -> DbResult<Vec<Row>> {
    let noted = match session.rows(keys).await {
        Ok(noted) => noted,
        Err(error) => return Err(session.refused(error)),
    };
    let Some(first) = noted.first() else { return Ok(Vec::new()) };
    let now: DateTime<Utc> = first.try_get(1)?;
    let new = noted.iter().map(|row| row.try_get(0)).collect::<Result<HashSet<Uuid>, _>>()?;
    let is_new = |entry: &&&Entry| entry.key.or(batch).is_some_and(|key| sure == Keys::New || new.contains(&key.hash));
    let (data, count) = encode(rows.iter().filter(is_new), now);
    let (copied, written) = session.copy(COPY, data, &numbers(session.newest())).await?;
    if copied != count || usize::try_from(count) != Ok(written.len()) {
        return Err(DbError::Unavailable(format!("{copied} of {count} events were copied, {} found", written.len())));
    }
    Ok(written.iter().map(insert::read).collect::<Result<_, _>>()?)
}

/// The rows of this transaction with numbers above `after`.
fn numbers(after: i64) -> Statement<'static, Returned> {
    Statement::new(
        "SELECT seq, txid, timestamp, id FROM mesh_six_events WHERE txid = mesh_six_current_txid() AND seq > ",
    )
    .bind(Value::Long(after))
    .sql(" AND timestamp = now() ORDER BY seq")
}

/// The binary form of `rows`, and how many there are. `occurred_at` outside of what is sensible becomes `now`, the
/// database's clock.
fn encode<'a>(rows: impl Iterator<Item = &'a &'a Entry>, now: DateTime<Utc>) -> (Bytes, u64) {
    let mut out = BytesMut::with_capacity(512 * 1024);
    out.put_slice(&HEADER);
    let mut count = 0;
    for row in rows {
        let sensible = (DateTime::UNIX_EPOCH..=now + MAX_AHEAD).contains(&row.occurred_at);
        out.put_i16(FIELDS);
        field(&mut out, &micros(if sensible { row.occurred_at } else { now }).to_be_bytes());
        field(&mut out, row.id.as_bytes());
        field(&mut out, row.trace_id.as_bytes());
        optional(&mut out, row.task_id.as_ref().map(|id| id.as_bytes().as_slice()));
        field(&mut out, row.agent_id.as_bytes());
        field(&mut out, row.event_type.as_bytes());
        field(&mut out, &row.event_version.to_be_bytes());
        out.put_i32(length(row.payload.len() + 1));
        out.put_u8(JSONB_VERSION);
        out.put_slice(row.payload.as_bytes());
        optional(&mut out, row.aggregate_id.as_ref().map(String::as_bytes));
        optional(&mut out, row.idempotency_key.as_ref().map(String::as_bytes));
        count += 1;
    }
    out.put_i16(END);
    (out.freeze(), count)
}

fn optional(out: &mut BytesMut, value: Option<&[u8]>) {
    match value {
        Some(value) => field(out, value),
        None => out.put_i32(NULL),
    }
}

fn field(out: &mut BytesMut, value: &[u8]) {
    out.put_i32(length(value.len()));
    out.put_slice(value);
}

/// No field is longer than a message, which is bounded long before.
fn length(bytes: usize) -> i32 {
    i32::try_from(bytes).unwrap_or(i32::MAX)
}

fn micros(time: DateTime<Utc>) -> i64 {
    (time - EPOCH).timestamp_micros()
}
