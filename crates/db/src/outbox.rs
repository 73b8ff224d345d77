//! Messages that are to be published, written in the transaction of the fact they tell (messaging.md §2).
//!
//! A relay publishes them at least once: it claims rows by a lease, publishes with no transaction open, and
//! marks them. A row may be born claimed, so that the process that wrote it publishes it right after its commit
//! without asking again; if that process dies, the lease ends and another relay takes over.

use std::time::Duration;

use chrono::{DateTime, Utc};
use diesel::{prelude::*, sql_types};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use mesh_six_core::id::new_id;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    clock::millis,
    dead_letters::{self, DeadLetter, Letter},
    error::DbResult,
    schema::outbox,
    statement::{JsonText, Statement, Value as Put},
};

/// Who claims rows, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claimant {
    /// One id per process and run.
    pub id: Uuid,
    /// After which others may take over.
    pub lease: Duration,
}

impl Claimant {
    /// A claimant of its own.
    pub fn new(lease: Duration) -> Self {
        Self { id: new_id(), lease }
    }
}

/// A message of the outbox. Its id and time are the `CloudEvent`'s, so a second publish is the same event.
#[derive(Clone, Debug, PartialEq)]
pub struct Outgoing {
    /// Id of the row and of the `CloudEvent`.
    pub id: Uuid,
    /// Where it goes.
    pub topic: String,
    /// What it is about, for people.
    pub key: String,
    /// The content.
    pub data: Value,
    /// W3C `traceparent` of the task.
    pub traceparent: Option<String>,
    /// The task it belongs to.
    pub task_id: Option<Uuid>,
    /// The attempt that it begins; `None` for the copy of an event.
    pub attempt: Option<i32>,
    /// The dead letter that is sent again; then the message is the letter's, and `data` is empty.
    pub letter_id: Option<String>,
    /// When it was written, by the database's clock.
    pub created_at: DateTime<Utc>,
    /// Failed tries so far.
    pub tries: i32,
}

#[derive(QueryableByName)]
#[diesel(table_name = outbox, check_for_backend(diesel::pg::Pg))]
struct Row {
    id: Uuid,
    topic: String,
    key: String,
    payload: Value,
    headers: Value,
    task_id: Option<Uuid>,
    attempt: Option<i32>,
    letter_id: Option<String>,
    created_at: DateTime<Utc>,
    tries: i32,
}

impl From<Row> for Outgoing {
    fn from(row: Row) -> Self {
        Self {
            id: row.id,
            topic: row.topic,
            key: row.key,
            data: row.payload,
            traceparent: row.headers.get("traceparent").and_then(Value::as_str).map(str::to_owned),
            task_id: row.task_id,
            attempt: row.attempt.filter(|attempt| *attempt != NO_ATTEMPT),
            letter_id: row.letter_id,
            created_at: row.created_at,
            tries: row.tries,
        }
    }
}

/// Writes `messages`, claimed by `claimant` from their birth.
pub(crate) async fn put(conn: &mut AsyncPgConnection, messages: &[Outgoing], claimant: Claimant) -> DbResult<()> {
    let all = || messages.iter();
    let payloads: Vec<String> = all().map(|m| m.data.to_string()).collect();
    let headers: Vec<String> = all().map(|m| json!({ "traceparent": m.traceparent }).to_string()).collect();
    Statement::<()>::new(
        "INSERT INTO outbox (id, topic, key, payload, headers, task_id, attempt, created_at, next_at, claimed_by, \
            lease_until) \
        SELECT m.id, m.topic, m.key, m.payload, m.headers, m.task_id, m.attempt, m.at, m.at, ",
    )
    .bind(Put::Id(claimant.id))
    .sql(", m.at + ")
    .bind(Put::Long(millis(claimant.lease)))
    .sql(" * interval '1 ms' FROM unnest(")
    .bind(Put::Ids(all().map(|m| m.id).collect()))
    .sql(", ")
    .bind(Put::Texts(all().map(|m| m.topic.as_str()).collect()))
    .sql(", ")
    .bind(Put::Texts(all().map(|m| m.key.as_str()).collect()))
    .sql(", ")
    .bind(Put::Json(payloads.iter().map(|text| JsonText(text)).collect()))
    .sql(", ")
    .bind(Put::Json(headers.iter().map(|text| JsonText(text)).collect()))
    .sql(", ")
    .bind(Put::OptionalIds(all().map(|m| m.task_id).collect()))
    .sql(", ")
    .bind(Put::OptionalInts(all().map(|m| m.attempt).collect()))
    .sql(", ")
    .bind(Put::Times(all().map(|m| m.created_at).collect()))
    .sql(") AS m (id, topic, key, payload, headers, task_id, attempt, at)")
    .execute(conn)
    .await?;
    Ok(())
}

/// The attempt of rows that send a letter again (see the migration that made `letter_id`).
const NO_ATTEMPT: i32 = 0;

/// Has the envelope of `letter` sent again by whichever relay looks next. Part of the caller's transaction.
pub(crate) async fn put_letter(conn: &mut AsyncPgConnection, letter: &Letter) -> DbResult<()> {
    let row = (
        outbox::id.eq(new_id()),
        outbox::topic.eq(&letter.topic),
        outbox::key.eq(format!("letter:{}", letter.id)),
        outbox::payload.eq(json!({})),
        outbox::attempt.eq(NO_ATTEMPT),
        outbox::letter_id.eq(&letter.id),
    );
    diesel::insert_into(outbox::table).values(row).execute(conn).await?;
    Ok(())
}

/// Removes a row that sends a letter again.
pub(crate) async fn drop_letter(conn: &mut AsyncPgConnection, id: Uuid) -> DbResult<()> {
    let row = outbox::table.filter(outbox::id.eq(id)).filter(outbox::letter_id.is_not_null());
    diesel::delete(row).execute(conn).await?;
    Ok(())
}

/// Gives `claimant` up to `limit` messages that are due and nobody's, oldest first. Messages of attempts that
/// have ended are left where they are, for [`prune`].
pub async fn claim(conn: &mut AsyncPgConnection, claimant: Claimant, limit: i64) -> DbResult<Vec<Outgoing>> {
    let mut rows: Vec<Row> = Statement::named(
        "UPDATE outbox o SET claimed_by = $1, lease_until = now() + $2 * interval '1 ms'
        FROM (
            SELECT d.id FROM outbox d
            WHERE d.sent_at IS NULL AND d.next_at <= now() AND (d.lease_until IS NULL OR d.lease_until < now())
                AND (d.attempt IS NULL OR d.letter_id IS NOT NULL OR EXISTS (
                    SELECT FROM task_attempts a
                    WHERE a.task_id = d.task_id AND a.attempt = d.attempt AND a.outcome IS NULL
                ))
            ORDER BY d.next_at LIMIT $3 FOR UPDATE OF d SKIP LOCKED
        ) AS due
        WHERE o.id = due.id
        RETURNING o.id, o.topic, o.key, o.payload, o.headers, o.task_id, o.attempt, o.letter_id,
            o.created_at, o.tries",
        &[Put::Id(claimant.id), Put::Long(millis(claimant.lease)), Put::Long(limit)],
    )
    .load(conn)
    .await?;
    rows.sort_by_key(|row| (row.created_at, row.id));
    Ok(rows.into_iter().map(Outgoing::from).collect())
}

/// The messages were published. Losing this mark in a crash only means a second publish of the same events, so
/// the commit need not wait for the disk.
pub async fn sent(conn: &mut AsyncPgConnection, ids: &[Uuid], claimant: Claimant) -> DbResult<()> {
    Statement::named(
        "UPDATE outbox SET sent_at = clock_timestamp(), claimed_by = NULL, lease_until = NULL
        FROM set_config('synchronous_commit', 'off', true)
        WHERE id = ANY($1) AND claimed_by = $2",
        &[Put::Ids(ids.to_vec()), Put::Id(claimant.id)],
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Publishing failed for now: the message is due again after `delay`.
pub async fn failed(conn: &mut AsyncPgConnection, id: Uuid, claimant: Claimant, delay: Duration) -> DbResult<()> {
    Statement::named(
        "UPDATE outbox SET tries = tries + 1, next_at = now() + $3 * interval '1 ms', claimed_by = NULL, lease_until = NULL
        WHERE id = $1 AND claimed_by = $2",
        &[Put::Id(id), Put::Id(claimant.id), Put::Long(millis(delay))],
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// The message can never be published: it becomes a dead letter with the envelope that it would have had. Part of the
/// caller's transaction.
pub(crate) async fn bury(
    conn: &mut AsyncPgConnection,
    message: &Outgoing,
    app: &str,
    envelope: Vec<u8>,
    why: &str,
) -> DbResult<()> {
    let letter = DeadLetter {
        app_id: app.to_owned(),
        topic: message.topic.clone(),
        source: app.to_owned(),
        id: message.id.to_string(),
        envelope,
        reason: Some(why.to_owned()),
    };
    dead_letters::store(conn, &[letter]).await?;
    diesel::delete(outbox::table.filter(outbox::id.eq(message.id))).execute(conn).await?;
    Ok(())
}

/// Removes the message of an attempt that has ended, so that it is not sent any more.
pub(crate) async fn drop_attempt(conn: &mut AsyncPgConnection, task: Uuid, attempt: i32) -> DbResult<()> {
    let unsent = outbox::table
        .filter(outbox::task_id.eq(task))
        .filter(outbox::attempt.eq(attempt))
        .filter(outbox::sent_at.is_null());
    diesel::delete(unsent).execute(conn).await?;
    Ok(())
}

/// Makes the requests of open attempts due again that were sent `patience` ago and have not arrived in their
/// agent's inbox; same id, so that a request that is only slow comes as a duplicate. Returns how many.
pub async fn resend(conn: &mut AsyncPgConnection, patience: Duration) -> DbResult<usize> {
    Ok(Statement::named(
        "UPDATE outbox o SET sent_at = NULL, next_at = now(), claimed_by = NULL, lease_until = NULL
        FROM task_attempts a
        WHERE a.outcome IS NULL AND a.deadline_at > now() AND o.task_id = a.task_id AND o.attempt = a.attempt
            AND o.sent_at < now() - $1 * interval '1 ms' AND NOT EXISTS (
                SELECT FROM agent_inbox i
                WHERE i.task_id = a.task_id AND i.attempt = a.attempt AND i.agent_id = a.agent_id
            )",
        &[Put::Long(millis(patience))],
    )
    .execute(conn)
    .await?)
}

/// Deletes messages that were sent longer than `keep` ago, which must exceed the longest attempt since until
/// then they may be sent again; at most 5 000 a call. Returns how many.
pub async fn prune(conn: &mut AsyncPgConnection, keep: Duration) -> DbResult<usize> {
    Ok(Statement::named(
        "DELETE FROM outbox WHERE id IN (
            SELECT id FROM outbox WHERE sent_at < now() - $1 * interval '1 ms' LIMIT 5000 FOR UPDATE SKIP LOCKED
        )",
        &[Put::Long(millis(keep))],
    )
    .execute(conn)
    .await?)
}

/// What waits in the outbox.
#[derive(Clone, Copy, Debug, PartialEq, QueryableByName)]
pub struct Backlog {
    /// Messages that are not published yet.
    #[diesel(sql_type = sql_types::BigInt)]
    pub waiting: i64,
    /// Age of the oldest of them, in seconds.
    #[diesel(sql_type = sql_types::Double)]
    pub oldest_seconds: f64,
}

/// How many messages wait, and how long the oldest has.
pub async fn backlog(conn: &mut AsyncPgConnection) -> DbResult<Backlog> {
    Ok(Statement::named(
        "SELECT count(*) AS waiting,
            coalesce(extract(epoch FROM clock_timestamp() - min(created_at)), 0)::float8 AS oldest_seconds
        FROM outbox WHERE sent_at IS NULL",
        &[],
    )
    .get_result(conn)
    .await?)
}
