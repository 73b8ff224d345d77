//! Whether the bucket of a key still exists, or must be made (events.md §3).

use std::{
    collections::BTreeSet,
    sync::atomic::{AtomicI64, Ordering},
};

use chrono::{DateTime, Datelike, Days, Utc};
use diesel::sql_types::Integer;
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use mesh_six_core::{ApiError, event::key::month, time};

use super::entry::Entry;
use crate::{
    error::DbResult,
    statement::{Statement, Value},
};

/// Until when nothing is taken for granted, in seconds since 1970.
static DOUBT: AtomicI64 = AtomicI64::new(0);
/// How long a missing bucket makes everyone ask: until its writers have tried again.
const DOUBT_SECONDS: i64 = 60;

/// Notes that a bucket which was taken for granted is missing.
pub(crate) fn doubt() {
    DOUBT.store(time::now().timestamp() + DOUBT_SECONDS, Ordering::Relaxed);
}

/// The buckets of `entries` that the database must be asked about. Those of this month and the last are taken for
/// granted, since upkeep makes them months ahead: the usual batch asks nothing.
pub(crate) fn asked<'a>(entries: impl Iterator<Item = &'a Entry>) -> BTreeSet<i32> {
    let now = time::now();
    let doubt = now.timestamp() < AtomicI64::load(&DOUBT, Ordering::Relaxed);
    let granted = [month(now), month(first_of_month(now) - Days::new(1))];
    let mut asked: BTreeSet<i32> = entries.filter_map(|e| Some(e.key?.bucket)).collect();
    asked.retain(|bucket| *bucket != 0 && (doubt || !granted.contains(bucket)));
    asked
}

/// Of the buckets `asked`, those that are gone for good; missing new ones are made.
pub(crate) async fn gone(conn: &mut AsyncPgConnection, mut asked: BTreeSet<i32>) -> DbResult<BTreeSet<i32>> {
    if asked.is_empty() {
        return Ok(asked);
    }
    let existing = existing(conn).await?;
    let oldest = existing.iter().next().copied().unwrap_or(i32::MAX);
    for bucket in asked.iter().filter(|b| **b > oldest && !existing.contains(*b)) {
        ensure(conn, *bucket).await?;
    }
    asked.retain(|bucket| *bucket < oldest);
    Ok(asked)
}

/// What the writer of a key of a dropped bucket is told.
pub(crate) fn too_old(bucket: i32) -> ApiError {
    let (year, month) = (bucket / 100, bucket % 100);
    ApiError::validation(
        "idempotencyKey",
        format!("the key is of {year:04}-{month:02}, too old: its month is no longer kept"),
    )
}

fn first_of_month(time: DateTime<Utc>) -> DateTime<Utc> {
    time - Days::new(u64::from(time.day0()))
}

/// The months that have a bucket.
async fn existing(conn: &mut AsyncPgConnection) -> DbResult<BTreeSet<i32>> {
    let names = Statement::<(Integer,)>::new(
        "SELECT right(c.relname, 6)::integer FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid \
         WHERE i.inhparent = 'mesh_six_event_keys'::regclass AND c.relname ~ '^mesh_six_event_keys_[0-9]{6}$'",
    );
    let rows: Vec<(i32,)> = names.load(conn).await?;
    Ok(rows.into_iter().map(|(bucket,)| bucket).collect())
}

async fn ensure(conn: &mut AsyncPgConnection, bucket: i32) -> DbResult<()> {
    Statement::<()>::new("SELECT mesh_six_ensure_partitions(0, make_timestamptz(")
        .bind(Value::Int(bucket / 100))
        .sql(", ")
        .bind(Value::Int(bucket % 100))
        .sql(", 1, 0, 0, 0, 'UTC'))")
        .execute(conn)
        .await?;
    Ok(())
}
