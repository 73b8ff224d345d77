//! What would go: a dry run.

use chrono::{DateTime, Utc};
use diesel::sql_types::{BigInt, Nullable};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use mesh_six_core::time;
use serde::Serialize;

use super::buckets::{self, Bucket};
use crate::{
    error::DbResult,
    partitions::{self, Partition},
    seals::{self, Month},
    statement::{Statement, Value},
};

/// A partition that lies wholly before the time asked for. Mostly one month; a repaired one may span several.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Candidate {
    /// Its table.
    pub partition: String,
    /// Its first month.
    pub month: Month,
    /// Its first moment.
    #[serde(with = "time::micros")]
    pub from: DateTime<Utc>,
    /// The first moment after it.
    #[serde(with = "time::micros")]
    pub to: DateTime<Utc>,
    /// Its rows, counted.
    pub rows: i64,
    /// With indexes.
    pub bytes: i64,
    /// Whether no row of its months can come any more.
    pub closed: bool,
    /// How many of its rows the chain of seals holds.
    pub sealed_rows: i64,
    /// How many rows the export on record has; `None` where there is none.
    pub exported_rows: Option<i64>,
    /// Why it cannot go yet; empty where it can.
    pub blockers: Vec<String>,
}

/// What retention up to a time would do.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Plan {
    /// The time asked for.
    #[serde(with = "time::micros")]
    pub before: DateTime<Utc>,
    /// Partitions of the log, oldest first.
    pub partitions: Vec<Candidate>,
    /// Buckets of idempotency keys, oldest first.
    pub buckets: Vec<Bucket>,
}

/// What could go that lies wholly before `before`, and what is in the way. Changes nothing.
pub async fn plan(conn: &mut AsyncPgConnection, before: DateTime<Utc>) -> DbResult<Plan> {
    let mut candidates = Vec::new();
    for partition in partitions::list(conn).await? {
        if partition.to.is_some_and(|to| to <= before) {
            candidates.extend(candidate(conn, partition).await?);
        }
    }
    Ok(Plan { before, partitions: candidates, buckets: buckets::plan(conn, before).await? })
}

/// How `partition` stands; `None` for the default one.
pub(super) async fn candidate(conn: &mut AsyncPgConnection, partition: Partition) -> DbResult<Option<Candidate>> {
    let (Some(from), Some(to)) = (partition.from, partition.to) else { return Ok(None) };
    let month = Month::of(from);
    let mut closed = true;
    for month in months(from, to) {
        closed &= seals::is_closed(conn, month).await?;
    }
    let query = Statement::<(BigInt, BigInt, Nullable<BigInt>)>::new(
        "SELECT (SELECT count(*) FROM mesh_six_events WHERE timestamp >= ",
    );
    let query = query.bind(Value::Time(from)).sql(" AND timestamp < ").bind(Value::Time(to)).sql(
        "), (SELECT coalesce(sum(row_count), 0)::bigint FROM mesh_six_event_seals WHERE kind = 'rows' AND month >= ",
    );
    let query = query.bind(Value::Int(month.number())).sql(" AND month < ").bind(Value::Int(Month::of(to).number()));
    let query = query
        .sql("), (SELECT exported_rows FROM mesh_six_event_months WHERE dropped_at IS NULL AND month = ")
        .bind(Value::Int(month.number()))
        .sql(")");
    let (rows, sealed_rows, exported_rows): (i64, i64, Option<i64>) = query.get_result(conn).await?;
    let (partition, bytes) = (partition.name, partition.bytes);
    let mut candidate =
        Candidate { partition, month, from, to, rows, bytes, closed, sealed_rows, exported_rows, blockers: Vec::new() };
    candidate.blockers = blockers(&candidate);
    Ok(Some(candidate))
}

/// The months of a partition.
pub(super) fn months(from: DateTime<Utc>, to: DateTime<Utc>) -> impl Iterator<Item = Month> {
    std::iter::successors(Some(Month::of(from)), |month| Some(month.next())).take_while(move |month| month.from() < to)
}

fn blockers(candidate: &Candidate) -> Vec<String> {
    let mut blockers = Vec::new();
    if !candidate.closed {
        blockers.push("not closed: run `mesh-six events seal` once the month is over".to_owned());
    }
    if candidate.sealed_rows != candidate.rows {
        blockers.push(format!("{} of its {} rows are sealed", candidate.sealed_rows, candidate.rows));
    }
    match candidate.exported_rows {
        None if candidate.rows > 0 => blockers.push("not exported: run `mesh-six events export --month`".to_owned()),
        Some(rows) if rows != candidate.rows => {
            blockers.push(format!("the export has {rows} of its {} rows", candidate.rows));
        }
        _ => {}
    }
    blockers
}
