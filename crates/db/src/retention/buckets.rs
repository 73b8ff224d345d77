//! Buckets of idempotency keys: the oldest go once nothing can bring their keys again (events.md §3).

use chrono::{DateTime, Months, Utc};
use diesel::sql_types::{BigInt, Integer, Nullable};
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection};
use serde::Serialize;

use crate::{
    clock,
    error::{DbError, DbResult},
    owner::patiently,
    seals::Month,
    statement::Statement,
};

/// What stands for the keys of one month.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Bucket {
    /// The month.
    pub month: Month,
    /// Keys by the server's own estimate; 0 before it has counted.
    pub keys_estimate: i64,
    /// With the index.
    pub bytes: i64,
    /// Why it cannot go yet; `None` where it can.
    pub blocker: Option<String>,
}

/// The oldest month that something can still bring a key of: open tasks, those that ended within a week (their
/// late answers), the inbox, unsent messages, letters that wait or are still to be sent again. Any `UUIDv7` in a
/// message counts, and each message's own time.
const OLDEST_REFERENCE: &str = "WITH messages AS (\
    SELECT payload::text AS body FROM outbox WHERE sent_at IS NULL \
    UNION ALL SELECT encode(envelope, 'escape') FROM dead_letters d WHERE d.state = 'waiting' \
        OR EXISTS (SELECT FROM outbox o WHERE o.letter_id = d.letter_id AND o.sent_at IS NULL)), ids AS (\
    (SELECT task_id::text AS id FROM orchestrator_tasks WHERE status IN ('pending', 'dispatched') \
        OR ended_at > now() - interval '7 days' ORDER BY task_id LIMIT 1) \
    UNION ALL (SELECT task_id::text FROM agent_inbox ORDER BY task_id LIMIT 1) \
    UNION ALL (SELECT task_id::text FROM outbox WHERE sent_at IS NULL AND task_id IS NOT NULL ORDER BY task_id LIMIT 1) \
    UNION ALL SELECT lower(m[1]) FROM messages, regexp_matches(body, \
        '([0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12})', 'gi') m) \
    SELECT least((SELECT min(to_char(to_timestamp(('x' || left(replace(id, '-', ''), 12))::bit(48)::bigint / 1000.0) \
        AT TIME ZONE 'UTC', 'YYYYMM')::integer) FROM ids WHERE substr(id, 15, 1) = '7'), \
    (SELECT min((m[1] || m[2])::integer) FROM messages, \
        regexp_matches(body, '\"time\"\\s*:\\s*\"([0-9]{4})-([0-9]{2})', 'g') m))";

/// The buckets of months before `before`, oldest first.
pub(super) async fn plan(conn: &mut AsyncPgConnection, before: DateTime<Utc>) -> DbResult<Vec<Bucket>> {
    let found: Vec<(i32, i64, i64)> = Statement::<(Integer, BigInt, BigInt)>::new(
        "SELECT right(c.relname, 6)::integer, greatest(c.reltuples, 0)::bigint, pg_total_relation_size(c.oid) \
         FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid \
         WHERE i.inhparent = 'mesh_six_event_keys'::regclass AND c.relname ~ '^mesh_six_event_keys_[0-9]{6}$' ORDER BY 1",
    )
    .load(conn)
    .await?;
    let (referred,): (Option<i32>,) = Statement::<(Nullable<Integer>,)>::new(OLDEST_REFERENCE).get_result(conn).await?;
    // This month's bucket and the last are taken for granted by writers, and upkeep would make them again, empty.
    let kept = Month::of(clock::now(conn).await? - Months::new(1));
    let blocker = |month: Month| match referred.and_then(Month::from_number) {
        _ if month >= kept => Some("writers count on this month and the last".to_owned()),
        Some(oldest) if oldest <= month => Some(format!("a task or message of {oldest} may still bring keys")),
        _ => None,
    };
    let before = Month::of(before);
    let bucket = |(number, keys_estimate, bytes)| {
        let month = Month::from_number(number).filter(|month| *month < before)?;
        Some(Bucket { month, keys_estimate, bytes, blocker: blocker(month) })
    };
    Ok(found.into_iter().filter_map(bucket).collect())
}

/// Drops the buckets of months before `before` that nothing refers to, and returns their months. From then on their
/// keys are refused as too old. No younger one goes before an older, since age is told by the oldest that is left.
pub async fn drop_buckets(conn: &mut AsyncPgConnection, before: DateTime<Utc>) -> DbResult<Vec<Month>> {
    let mut dropped = Vec::new();
    for bucket in plan(conn, before).await?.into_iter().take_while(|bucket| bucket.blocker.is_none()) {
        let number = bucket.month.number();
        patiently(conn, async |conn| {
            conn.transaction::<_, DbError, _>(async |conn| {
                conn.batch_execute(&format!(
                    "SET LOCAL lock_timeout = '2s'; \
                     SELECT pg_advisory_xact_lock(hashtextextended('mesh_six_partitions', 0)); \
                     ALTER TABLE mesh_six_event_keys DETACH PARTITION mesh_six_event_keys_{number:06}; \
                     DROP TABLE mesh_six_event_keys_{number:06}"
                ))
                .await?;
                Ok(())
            })
            .await
        })
        .await?;
        dropped.push(bucket.month);
    }
    Ok(dropped)
}
