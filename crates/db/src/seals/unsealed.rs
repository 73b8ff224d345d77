//! What no seal covers yet.

use chrono::{DateTime, Utc};
use diesel::sql_types::{BigInt, Integer, Nullable, Timestamptz, Uuid as SqlUuid};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use mesh_six_core::time;
use serde::Serialize;
use uuid::Uuid;

use super::{
    Month,
    format::Place,
    model::{self, Kind, Seal},
};
use crate::{
    error::DbResult,
    partitions,
    statement::{Statement, Value},
};

/// No partition is longer; a bound against nonsense.
const MONTHS_OF_A_PARTITION: usize = 1_200;

/// Rows that no seal covers: a change of them would not be found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Unsealed {
    /// How many.
    pub rows: i64,
    /// When the oldest of them was recorded.
    #[serde(with = "time::micros_option")]
    pub oldest: Option<DateTime<Utc>>,
}

/// All months that may hold rows: those of the partitions, those in the default one, those with seals.
pub(super) async fn months(conn: &mut AsyncPgConnection) -> DbResult<Vec<Month>> {
    let mut months = model::months(conn).await?;
    months.extend(with_partition(conn).await?);
    let stray = Statement::<(Integer,)>::new(
        "SELECT DISTINCT to_char(timestamp AT TIME ZONE 'UTC', 'YYYYMM')::integer FROM mesh_six_events_default",
    );
    let stray: Vec<(i32,)> = stray.load(conn).await?;
    months.extend(stray.into_iter().filter_map(|(number,)| Month::from_number(number)));
    months.sort_unstable();
    months.dedup();
    Ok(months)
}

/// All months that have a partition of their own, or a part in a repaired one.
pub(super) async fn with_partition(conn: &mut AsyncPgConnection) -> DbResult<Vec<Month>> {
    let bounds = partitions::list(conn).await?.into_iter().filter_map(|partition| partition.from.zip(partition.to));
    let each = |(from, to)| {
        let months = std::iter::successors(Some(Month::of(from)), |month| Some(month.next()));
        months.take(MONTHS_OF_A_PARTITION).take_while(move |month| month.from() < to)
    };
    Ok(bounds.flat_map(each).collect())
}

/// What is not sealed of `month`, whose newest seal is `last`.
pub(super) async fn of(conn: &mut AsyncPgConnection, month: Month, last: Option<&Seal>) -> DbResult<Unsealed> {
    let count = "SELECT count(*), min(timestamp) FROM mesh_six_events WHERE timestamp >= ";
    let count = beyond::<(BigInt, Nullable<Timestamptz>)>(count, month, last.map(Seal::to));
    let (rows, oldest) = count.get_result(conn).await?;
    Ok(Unsealed { rows, oldest })
}

/// When the first row that is not sealed was recorded; much cheaper than counting them.
pub(super) async fn oldest(conn: &mut AsyncPgConnection) -> DbResult<Option<DateTime<Utc>>> {
    let mut oldest = None;
    for month in months(conn).await? {
        let last = model::last_of(conn, month).await?;
        if last.as_ref().is_some_and(|seal| !seal.is(Kind::Rows)) {
            continue;
        }
        let first = "SELECT timestamp FROM mesh_six_events WHERE timestamp >= ";
        let first = beyond::<(Timestamptz,)>(first, month, last.as_ref().map(Seal::to));
        let first: Vec<(DateTime<Utc>,)> = first.sql(" ORDER BY txid, seq LIMIT 1").load(conn).await?;
        oldest = oldest.into_iter().chain(first.into_iter().map(|(time,)| time)).min();
    }
    Ok(oldest)
}

/// Whether the month has rows that are not sealed.
pub(super) async fn any(conn: &mut AsyncPgConnection, month: Month, after: Place) -> DbResult<bool> {
    let first = "SELECT seq FROM mesh_six_events WHERE timestamp >= ";
    let first: Vec<(i64,)> = beyond::<(BigInt,)>(first, month, Some(after)).sql(" LIMIT 1").load(conn).await?;
    Ok(!first.is_empty())
}

/// The first event of the month that is not sealed.
pub(super) async fn first_id(conn: &mut AsyncPgConnection, month: Month, after: Place) -> DbResult<Option<Uuid>> {
    let first = "SELECT id FROM mesh_six_events WHERE timestamp >= ";
    let first = beyond::<(SqlUuid,)>(first, month, Some(after)).sql(" ORDER BY txid, seq LIMIT 1");
    let first: Vec<(Uuid,)> = first.load(conn).await?;
    Ok(first.into_iter().next().map(|(id,)| id))
}

/// The event at this place of the month.
pub(super) async fn id_at(conn: &mut AsyncPgConnection, month: Month, at: Place) -> DbResult<Option<Uuid>> {
    let query = beyond::<(SqlUuid,)>("SELECT id FROM mesh_six_events WHERE timestamp >= ", month, None);
    let query = query.sql(" AND txid = ").bind(Value::Long(at.txid)).sql(" AND seq = ").bind(Value::Long(at.seq));
    let found: Vec<(Uuid,)> = query.load(conn).await?;
    Ok(found.into_iter().next().map(|(id,)| id))
}

fn beyond<Row>(select: &'static str, month: Month, after: Option<Place>) -> Statement<'static, Row> {
    let query = Statement::new(select).bind(Value::Time(month.from()));
    let query = query.sql(" AND timestamp < ").bind(Value::Time(month.to()));
    let Some(after) = after.filter(|after| *after != Place::default()) else { return query };
    let query = query.sql(" AND (txid, seq) > (").bind(Value::Long(after.txid)).sql(", ");
    query.bind(Value::Long(after.seq)).sql(")")
}
