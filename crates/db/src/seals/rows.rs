//! Rows of a range, streamed and hashed as they come: memory does not grow with the range.

use diesel::{
    deserialize::{self, FromSqlRow},
    pg::{Pg, PgValue},
    row::{Field, Row},
    sql_types::{BigInt, Integer, Nullable, Text, Timestamptz, Uuid as SqlUuid},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use futures_util::{Stream, TryStreamExt};

use super::{
    Month,
    format::{Place, Rows, RowsHasher, SealedRow, content_hash},
};
use crate::{
    error::{DbError, DbResult},
    statement::{Statement, Value},
};

/// The SQL types of a row in the canonical order: its place first, then its content.
type Columns = (
    BigInt,
    BigInt,
    Timestamptz,
    Timestamptz,
    SqlUuid,
    SqlUuid,
    Nullable<SqlUuid>,
    Text,
    Text,
    Integer,
    Text,
    Nullable<Text>,
    Nullable<Text>,
);

/// Fields that make up the place.
const PLACE: usize = 2;

/// The month goes by the rows' timestamps, so rows in the default partition, or in a repaired one of another name,
/// are found as well.
const SELECT: &str = "SELECT txid, seq, timestamp, occurred_at, id, trace_id, task_id, agent_id, event_type, \
    event_version, payload::text, aggregate_id, idempotency_key FROM mesh_six_events WHERE timestamp >= ";

/// Hashes the raw bytes that the server sends, without making values of them.
impl FromSqlRow<Columns, Pg> for SealedRow {
    fn build_from_row<'a>(row: &impl Row<'a, Pg>) -> deserialize::Result<Self> {
        let mut fields = Vec::with_capacity(row.field_count());
        for number in 0..row.field_count() {
            fields.push(row.get(number).ok_or("a column is missing")?);
        }
        let values: Vec<_> = fields.iter().map(|field| field.value()).collect();
        let mut bytes = values.iter().map(|value| value.as_ref().map(PgValue::as_bytes));
        let mut number = || -> deserialize::Result<i64> {
            Ok(i64::from_be_bytes(bytes.next().flatten().ok_or("a place is never NULL")?.try_into()?))
        };
        let place = Place { txid: number()?, seq: number()? };
        debug_assert_eq!(values.len() - PLACE, bytes.len());
        Ok(Self { place, content: content_hash(bytes) })
    }
}

/// Which rows of a month.
#[derive(Clone, Copy, Debug)]
pub(super) struct Range {
    pub(super) month: Month,
    /// Rows after this place; the default place means from the very beginning.
    pub(super) after: Place,
    /// Rows up to and with this place; `None` is all that the horizon allows.
    pub(super) up_to: Option<Place>,
    /// No more than so many.
    pub(super) limit: i64,
}

impl Range {
    fn statement<Row>(self, select: &'static str) -> Statement<'static, Row> {
        // No place is below the default one, but a forger might invent one.
        let after = if self.after == Place::default() { Place { txid: i64::MIN, seq: i64::MIN } } else { self.after };
        let query = Statement::new(select).bind(Value::Time(self.month.from()));
        let query = query.sql(" AND timestamp < ").bind(Value::Time(self.month.to()));
        let query = query.sql(" AND (txid, seq) > (").bind(Value::Long(after.txid)).sql(", ");
        let query = query.bind(Value::Long(after.seq)).sql(")");
        match self.up_to {
            Some(to) => {
                let query = query.sql(" AND (txid, seq) <= (").bind(Value::Long(to.txid)).sql(", ");
                query.bind(Value::Long(to.seq)).sql(")")
            }
            None => query.sql(" AND txid < mesh_six_horizon()"),
        }
        .sql(" ORDER BY txid, seq LIMIT ")
        .bind(Value::Long(self.limit))
    }
}

/// The rows of `range`, in order.
pub(super) async fn stream(
    conn: &mut AsyncPgConnection,
    range: Range,
) -> DbResult<impl Stream<Item = DbResult<SealedRow>> + '_> {
    let rows = range.statement::<Columns>(SELECT).load_stream::<SealedRow>(conn).await?;
    Ok(rows.map_err(DbError::from))
}

/// The rows of `range`, hashed.
pub(super) async fn hash(conn: &mut AsyncPgConnection, range: Range) -> DbResult<Rows> {
    let mut rows = std::pin::pin!(stream(conn, range).await?);
    let mut hasher = RowsHasher::default();
    while let Some(row) = rows.try_next().await? {
        hasher.add(row);
    }
    Ok(hasher.finish())
}
