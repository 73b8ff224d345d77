//! The one statement that writes events: keys first, then the events whose keys are new.

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use diesel::{
    result::{DatabaseErrorKind, Error},
    sql_types::{BigInt, Timestamptz, Uuid as SqlUuid},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use mesh_six_core::{
    event::{EventKey, Position, key::month},
    time,
};
use tokio_postgres::error::SqlState;
use uuid::Uuid;

use super::{
    Appended, copy,
    entry::Entry,
    keys::{Keys, keys_of, many_keys, noting, one_key},
    session::Session,
    strays,
};
use crate::{
    error::{DbError, DbResult},
    metrics,
    statement::{JsonText, Statement, Value},
};

/// Most events in one statement.
pub(crate) const CHUNK: usize = 1_000;
/// Most bytes of payload in one statement.
const CHUNK_BYTES: usize = 4 * 1024 * 1024;
const KEYS: &str = "mesh_six_event_keys";

pub(super) type Returned = (BigInt, BigInt, Timestamptz, SqlUuid);
/// `seq`, `txid`, `timestamp` and `id` of a row that was written.
pub(crate) type Row = (i64, i64, DateTime<Utc>, Uuid);

/// What runs the statements of a chunk.
pub(crate) trait Runs {
    /// Writes `rows`, whose keys are distinct, and returns those that were new, in order.
    fn write(&mut self, rows: &[&Entry], batch: Option<EventKey>) -> impl Future<Output = DbResult<Vec<Row>>> + Send;
    /// Runs another one, in the same transaction.
    fn execute(&mut self, statement: Statement<'_, ()>) -> impl Future<Output = DbResult<()>> + Send;
}

impl Runs for AsyncPgConnection {
    async fn write(&mut self, rows: &[&Entry], batch: Option<EventKey>) -> DbResult<Vec<Row>> {
        statement(rows, batch, time::now(), Keys::Unsure).load(self).await.map_err(classify)
    }

    async fn execute(&mut self, statement: Statement<'_, ()>) -> DbResult<()> {
        RunQueryDsl::execute(statement, self).await?;
        Ok(())
    }
}

impl Runs for Session {
    async fn write(&mut self, rows: &[&Entry], batch: Option<EventKey>) -> DbResult<Vec<Row>> {
        let (now, keys) = (time::now(), if self.trusts() { Keys::New } else { Keys::Unsure });
        let written = if self.is_open() && copies(rows, batch, now) {
            copy::write(self, rows, batch, keys, &noting(&keys_of(rows, batch), keys)).await
        } else {
            match self.rows(&statement(rows, batch, now, keys)).await {
                Ok(written) => Ok(written.iter().map(read).collect::<Result<_, _>>()?),
                Err(error) => Err(self.refused(error)),
            }
        }?;
        if written.len() < rows.len() {
            self.doubt();
        }
        self.wrote(&written);
        Ok(written)
    }

    async fn execute(&mut self, statement: Statement<'_, ()>) -> DbResult<()> {
        self.rows(&statement).await?;
        Ok(())
    }
}

/// A row that was written.
pub(super) fn read(row: &tokio_postgres::Row) -> Result<Row, tokio_postgres::Error> {
    Ok((row.try_get(0)?, row.try_get(1)?, row.try_get(2)?, row.try_get(3)?))
}

/// Cuts `rows` into what one statement takes. An id comes at most once in a chunk, since the answer tells the
/// written events by their ids.
pub(crate) fn chunks<'r, 'a>(rows: &'r [&'a Entry]) -> Vec<&'r [&'a Entry]> {
    let mut chunks = Vec::new();
    let (mut start, mut bytes) = (0, 0);
    let mut ids: HashSet<Uuid> = HashSet::with_capacity(rows.len().min(CHUNK));
    for (at, entry) in rows.iter().enumerate() {
        let full = at - start == CHUNK || bytes + entry.payload.len() > CHUNK_BYTES;
        if at > start && (full || ids.contains(&entry.id)) {
            chunks.push(&rows[start..at]);
            (start, bytes) = (at, 0);
            ids.clear();
        }
        bytes += entry.payload.len();
        ids.insert(entry.id);
    }
    if start < rows.len() {
        chunks.push(&rows[start..]);
    }
    chunks
}

/// Writes one chunk; one answer per row, in order. The later of two rows with one key is a duplicate. Rows without
/// a key are written if `batch`, where there is one, is not on record yet.
pub(crate) async fn write(conn: &mut impl Runs, rows: &[&Entry], batch: Option<EventKey>) -> DbResult<Vec<Appended>> {
    if rows.is_empty() {
        return Ok(Vec::new());
    }
    let mut seen = HashSet::with_capacity(rows.len());
    // The first row of each key of its own, and every row without one.
    let first: Vec<bool> = rows.iter().map(|entry| entry.key.is_none_or(|key| seen.insert(key))).collect();
    let kept: Vec<&Entry> = rows.iter().zip(&first).filter(|(_, first)| **first).map(|(row, _)| *row).collect();
    let written = conn.write(&kept, batch).await?;
    let mut written = written.into_iter().peekable();
    let appended: Vec<Appended> = rows
        .iter()
        .zip(first)
        .map(|(entry, first)| match written.next_if(|w| first && w.3 == entry.id) {
            Some((seq, txid, timestamp, _)) => Appended::Written(Position::of(txid, seq, timestamp)),
            None => Appended::Duplicate,
        })
        .collect();
    metrics::written(&appended);
    contents(conn, rows, &appended).await?;
    Ok(appended)
}

/// Whether a chunk takes more than one statement, hence a transaction.
pub(crate) fn needs_transaction(rows: &[&Entry], batch: Option<EventKey>) -> bool {
    has_contents(rows) || copies(rows, batch, time::now())
}

/// Whether something goes beside the log, after the rows.
pub(crate) fn has_contents(rows: &[&Entry]) -> bool {
    rows.iter().any(|entry| entry.content.is_some())
}

/// Whether to copy `rows`: many, each with a key, which tells what is new, and none with a month to be noted.
fn copies(rows: &[&Entry], batch: Option<EventKey>, now: DateTime<Utc>) -> bool {
    let keyed = batch.is_some() || rows.iter().all(|entry| entry.key.is_some());
    rows.len() >= copy::MIN_ROWS && keyed && strays::suspects(rows, now).is_empty()
}

/// The statement for rows of distinct keys.
fn statement<'a>(
    rows: &[&'a Entry],
    batch: Option<EventKey>,
    now: DateTime<Utc>,
    sure: Keys,
) -> Statement<'a, Returned> {
    let suspects = strays::suspects(rows, now);
    let noted = !suspects.is_empty();
    let with = if noted { strays::note(Statement::new("WITH "), suspects) } else { Statement::new("") };
    let keys = keys_of(rows, batch);
    let all_keyed = rows.iter().all(|e| e.key.or(batch).is_some());
    let keys_follow = |with: Statement<'a, Returned>| with.sql(if noted { ", keys AS (" } else { "WITH keys AS (" });
    match (rows, keys.as_slice()) {
        ([one], []) => values(with.sql(INSERT).sql("VALUES ("), one).sql(")").sql(RETURNING),
        ([one], [(key, id)]) => {
            let keys = one_key(keys_follow(with), *key, *id).sql(") ");
            values(keys.sql(INSERT).sql("SELECT "), one).sql(" FROM keys").sql(RETURNING)
        }
        (_, [(key, id)]) if all_keyed => together(one_key(keys_follow(with), *key, *id).sql(") "), rows),
        _ if sure == Keys::New && all_keyed => after(many_keys(keys_follow(with), &keys, sure).sql(") "), rows),
        _ => apart(keys_follow(with), rows, &keys, batch),
    }
}

/// The values of one row. Arrays of one cost as much again as the row does.
fn values<'a>(statement: Statement<'a, Returned>, row: &'a Entry) -> Statement<'a, Returned> {
    statement
        .sql("CASE WHEN ")
        .bind(Value::Time(row.occurred_at))
        .sql(" BETWEEN 'epoch' AND now() + interval '24 hours' THEN ")
        .bind(Value::Time(row.occurred_at))
        .sql(" ELSE now() END, ")
        .bind(Value::Id(row.id))
        .sql(", ")
        .bind(Value::Id(row.trace_id))
        .sql(", ")
        .bind(Value::OptionalId(row.task_id))
        .sql(", ")
        .bind(Value::Text(&row.agent_id))
        .sql(", ")
        .bind(Value::Text(&row.event_type))
        .sql(", ")
        .bind(Value::Int(row.event_version))
        .sql(", ")
        .bind(Value::Document(JsonText(&row.payload)))
        .sql(", ")
        .bind(Value::OptionalText(row.aggregate_id.as_deref()))
        .sql(", ")
        .bind(Value::OptionalText(row.idempotency_key.as_deref()))
}

/// For rows that share one key, most often the batch's: all are new or none is. The server then need not find out
/// which, and for one row that is most of its work.
fn together<'a>(keys: Statement<'a, Returned>, rows: &[&'a Entry]) -> Statement<'a, Returned> {
    columns(keys.sql(INSERT).sql(SELECT).sql("FROM keys, unnest("), rows)
        .sql(
            ") WITH ORDINALITY AS e(occurred_at, id, trace_id, task_id, agent_id, event_type, event_version, payload, \
             aggregate_id, idempotency_key, place) ORDER BY e.place",
        )
        .sql(RETURNING)
}

/// For rows whose keys are all new. They are written after the keys, so that a key that is known after all leaves no
/// dead rows behind.
fn after<'a>(keys: Statement<'a, Returned>, rows: &[&'a Entry]) -> Statement<'a, Returned> {
    columns(keys.sql(INSERT).sql(SELECT).sql("FROM unnest("), rows)
        .sql(
            ") WITH ORDINALITY AS e(occurred_at, id, trace_id, task_id, agent_id, event_type, event_version, payload, \
             aggregate_id, idempotency_key, place) WHERE (SELECT count(*) FROM keys) > 0 ORDER BY e.place",
        )
        .sql(RETURNING)
}

/// For rows with keys of their own: those are written whose keys are new.
fn apart<'a>(
    with: Statement<'a, Returned>,
    rows: &[&'a Entry],
    keys: &[(EventKey, Uuid)],
    batch: Option<EventKey>,
) -> Statement<'a, Returned> {
    let keys = many_keys(with, keys, Keys::Unsure).sql(") ");
    columns(keys.sql(INSERT).sql(SELECT).sql("FROM unnest("), rows)
        .sql(", ")
        .bind(Value::OptionalIds(rows.iter().map(|e| e.key.or(batch).map(|key| key.hash)).collect()))
        .sql(
            ") WITH ORDINALITY AS e(occurred_at, id, trace_id, task_id, agent_id, event_type, event_version, payload, \
             aggregate_id, idempotency_key, key_hash, place) \
             WHERE e.key_hash IS NULL OR e.key_hash IN (SELECT key_hash FROM keys) ORDER BY e.place",
        )
        .sql(RETURNING)
}

const INSERT: &str = "INSERT INTO mesh_six_events (occurred_at, id, trace_id, task_id, agent_id, event_type, \
    event_version, payload, aggregate_id, idempotency_key) ";
/// What goes in. `occurred_at` outside of what is sensible becomes the database's clock.
const SELECT: &str = "SELECT CASE WHEN e.occurred_at BETWEEN 'epoch' AND now() + interval '24 hours' \
    THEN e.occurred_at ELSE now() END, e.id, e.trace_id, e.task_id, e.agent_id, e.event_type, e.event_version, \
    e.payload, e.aggregate_id, e.idempotency_key ";
const RETURNING: &str = " RETURNING seq, txid, timestamp, id";

/// The rows' values, a column at a time.
fn columns<'a>(statement: Statement<'a, Returned>, rows: &[&'a Entry]) -> Statement<'a, Returned> {
    let entries = || rows.iter().copied();
    statement
        .bind(Value::Times(entries().map(|e| e.occurred_at).collect()))
        .sql(", ")
        .bind(Value::Ids(entries().map(|e| e.id).collect()))
        .sql(", ")
        .bind(Value::Ids(entries().map(|e| e.trace_id).collect()))
        .sql(", ")
        .bind(Value::OptionalIds(entries().map(|e| e.task_id).collect()))
        .sql(", ")
        .bind(Value::Texts(entries().map(|e| e.agent_id.as_str()).collect()))
        .sql(", ")
        .bind(Value::Texts(entries().map(|e| e.event_type.as_str()).collect()))
        .sql(", ")
        .bind(Value::Ints(entries().map(|e| e.event_version).collect()))
        .sql(", ")
        .bind(Value::Json(entries().map(|e| JsonText(&e.payload)).collect()))
        .sql(", ")
        .bind(Value::OptionalTexts(entries().map(|e| e.aggregate_id.as_deref()).collect()))
        .sql(", ")
        .bind(Value::OptionalTexts(entries().map(|e| e.idempotency_key.as_deref()).collect()))
}

/// Content of the events that were written goes beside the log.
async fn contents(conn: &mut impl Runs, rows: &[&Entry], appended: &[Appended]) -> DbResult<()> {
    let kept: Vec<_> = rows
        .iter()
        .zip(appended)
        .filter(|(_, appended)| matches!(appended, Appended::Written(_)))
        .filter_map(|(entry, _)| Some((*entry, entry.content.as_ref()?)))
        .collect();
    if kept.is_empty() {
        return Ok(());
    }
    let statement = Statement::<()>::new(
        "INSERT INTO event_contents (event_id, task_id, user_id, month, kind, content) SELECT * FROM unnest(",
    )
    .bind(Value::Ids(kept.iter().map(|(entry, _)| entry.id).collect()))
    .sql(", ")
    .bind(Value::OptionalIds(kept.iter().map(|(entry, _)| entry.task_id).collect()))
    .sql(", ")
    .bind(Value::OptionalTexts(kept.iter().map(|(_, content)| content.user_id.as_deref()).collect()))
    .sql(", ")
    .bind(Value::Ints(kept.iter().map(|(entry, _)| month(entry.occurred_at)).collect()))
    .sql(", ")
    .bind(Value::Texts(kept.iter().map(|(_, content)| content.kind).collect()))
    .sql(", ")
    .bind(Value::Texts(kept.iter().map(|(_, content)| content.text.as_str()).collect()))
    .sql(") ON CONFLICT DO NOTHING");
    conn.execute(statement).await
}

/// A missing key bucket is told apart by its table, since it is mended by making it.
fn classify(error: Error) -> DbError {
    match &error {
        Error::DatabaseError(DatabaseErrorKind::CheckViolation, info) if info.table_name() == Some(KEYS) => {
            bucket_is_missing()
        }
        _ => error.into(),
    }
}

impl Session {
    /// The same, as tokio-postgres tells it.
    pub(super) fn refused(&mut self, error: tokio_postgres::Error) -> DbError {
        match error.as_db_error() {
            Some(refusal) if refusal.table() == Some(KEYS) && *refusal.code() == SqlState::CHECK_VIOLATION => {
                bucket_is_missing()
            }
            Some(refusal) if *refusal.code() == SqlState::UNIQUE_VIOLATION => {
                self.mistook();
                error.into()
            }
            _ => error.into(),
        }
    }
}

fn bucket_is_missing() -> DbError {
    super::buckets::doubt();
    DbError::Unavailable("a bucket of event keys is missing; it is made with the next try".to_owned())
}

#[cfg(test)]
mod tests {
    use diesel::{debug_query, pg::Pg};
    use mesh_six_core::{Event, TraceId, time};
    use serde_json::json;

    use super::*;

    #[expect(clippy::unwrap_used, reason = "a test that cannot go on must fail")]
    fn entry(payload: usize) -> Entry {
        let event = Event::new("test.event", "agent", TraceId::new(), json!("x".repeat(payload)));
        Entry::lenient(event, time::now()).unwrap()
    }

    #[test]
    fn chunks_are_bounded_in_rows_and_bytes_and_have_each_id_once() {
        let many: Vec<Entry> = (0..2_500).map(|_| entry(1)).collect();
        let many: Vec<&Entry> = many.iter().collect();
        assert_eq!(chunks(&many).iter().map(|c| c.len()).collect::<Vec<_>>(), [1_000, 1_000, 500]);

        let large: Vec<Entry> = (0..200).map(|_| entry(60_000)).collect();
        let large: Vec<&Entry> = large.iter().collect();
        assert!(chunks(&large).iter().all(|c| c.len() < 75));
        assert_eq!(chunks(&large).iter().map(|c| c.len()).sum::<usize>(), 200);

        let one = entry(1);
        assert_eq!(chunks(&[&one, &one, &one]).len(), 3);
        assert!(chunks(&[]).is_empty());
    }

    #[test]
    fn the_statements_of_one_row_and_of_any_number_of_rows() {
        let (mut one, mut two, mut old, now) = (entry(1), entry(1), entry(1), time::now());
        for row in [&mut one, &mut two, &mut old] {
            // It tells no month, whatever day it is.
            row.trace_id = Uuid::nil();
        }
        let of = |rows: &[&Entry], batch: Option<EventKey>, keys: Keys| {
            let text = debug_query::<Pg, _>(&statement(rows, batch, now, keys)).to_string();
            text.split(" -- binds").next().unwrap_or_default().to_owned()
        };
        let text = |rows: &[&Entry], batch: Option<EventKey>| of(rows, batch, Keys::Unsure);
        let three: Vec<&Entry> = [&one, &two, &one].into();
        assert_eq!(text(&three, None), text(&three[..2], None));
        let batch = Some(EventKey { bucket: 0, hash: Uuid::nil() });
        assert_eq!(text(&three, batch), text(&three[..2], batch));
        old.task_id = Some(Uuid::from_u64_pair(0x7000, 0x8000_0000_0000_0000));
        let keyed = |n| Entry { key: Some(EventKey { bucket: 0, hash: Uuid::from_u128(n) }), ..one.clone() };
        let (first, second) = (keyed(1), keyed(2));
        let texts = [
            text(&three, None),
            text(&three, batch),
            text(&[&one], None),
            text(&[&one], batch),
            text(&[&old], None),
            text(&[&old, &one], batch),
            of(&[&first, &second], None, Keys::New),
        ];
        insta::assert_snapshot!(texts.join("\n"));
    }
}
