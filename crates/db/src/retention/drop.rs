//! Dropping a month, and the record of its export.

use diesel::sql_types::BigInt;
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection};
use mesh_six_core::{ApiError, ErrorType};
use serde::Serialize;
use serde_json::json;
use tracing::info;

use super::plan::{Candidate, candidate, months};
use crate::{
    error::{DbError, DbResult},
    export::{Range, Receipt},
    owner::patiently,
    partitions,
    seals::{self, Head, Month},
    statement::{Statement, Value},
};

/// Readers and writers behind us in the queue for the lock wait no longer than this.
const LOCKS: &str =
    "SET LOCAL lock_timeout = '2s'; SELECT pg_advisory_xact_lock(hashtextextended('mesh_six_partitions', 0))";

/// What was dropped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Dropped {
    /// The partition's table.
    pub partition: String,
    /// Its first month.
    pub month: Month,
    /// Events that went with it.
    pub rows: i64,
    /// Their contents beside the log, which went too.
    pub contents: usize,
    /// The chain's newest seal, which tells of the drop.
    pub head: Option<Head>,
}

/// Notes that `month`, or the whole partition that begins with it, was exported whole. Refused if the file lacks events.
pub async fn record_export(conn: &mut AsyncPgConnection, month: Month, receipt: &Receipt) -> DbResult<()> {
    let found = find(conn, month).await?;
    let rows = i64::try_from(receipt.rows).unwrap_or(i64::MAX);
    if found.rows != rows {
        let why = format!("the file has {rows} events, the log {} of that month: export it again", found.rows);
        return Err(ApiError::new(ErrorType::Conflict, why).into());
    }
    if !found.closed {
        let why = "the month is not closed, so events may still come: run `mesh-six events seal` once it is over";
        return Err(ApiError::new(ErrorType::Conflict, why).into());
    }
    Statement::<()>::new(
        "INSERT INTO mesh_six_event_months (month, exported_rows, exported_bytes, exported_sha256, exported_at) VALUES (",
    )
    .bind(Value::Int(month.number()))
    .sql(", ")
    .bind(Value::Long(rows))
    .sql(", ")
    .bind(Value::Long(i64::try_from(receipt.bytes).unwrap_or(i64::MAX)))
    .sql(", ")
    .bind(Value::Text(&receipt.sha256))
    .sql(
        ", now()) ON CONFLICT (month) DO UPDATE SET exported_rows = excluded.exported_rows, \
         exported_bytes = excluded.exported_bytes, exported_sha256 = excluded.exported_sha256, exported_at = now()",
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// What an export of `month` must hold so that its partition can be dropped: mostly the month, after a repair all
/// months of its partition.
pub async fn export_range(conn: &mut AsyncPgConnection, month: Month) -> DbResult<Range> {
    let all = partitions::list(conn).await?;
    let of_month = all.into_iter().find(|p| p.from == Some(month.from()));
    let until = of_month.and_then(|partition| partition.to).or(Some(month.to()));
    Ok(Range { until, ..Range::month(month) })
}

/// Drops the partition that begins with `month` if it is closed, sealed and exported; the seals stay, so
/// the chain remains checkable. Tries again while open readers are in the way.
pub async fn drop_month(conn: &mut AsyncPgConnection, month: Month) -> DbResult<Dropped> {
    let dropped = patiently(conn, async |conn| {
        conn.transaction::<_, DbError, _>(async |conn| {
            conn.batch_execute(LOCKS).await?;
            let found = find(conn, month).await?;
            if !found.blockers.is_empty() {
                let error =
                    ApiError::new(ErrorType::Conflict, format!("{}: {}", found.partition, found.blockers.join("; ")));
                return Err(error.with_details(json!({ "blockers": found.blockers })).into());
            }
            take(conn, found).await
        })
        .await
    })
    .await?;
    if let Some(head) = dropped.head {
        info!(month = %month, rows = dropped.rows, seal = head.number, hash = %head.hash, "a month was dropped");
    }
    Ok(dropped)
}

async fn take(conn: &mut AsyncPgConnection, found: Candidate) -> DbResult<Dropped> {
    let contents = Statement::<()>::new(
        "DELETE FROM event_contents c USING mesh_six_events e WHERE c.event_id = e.id AND e.timestamp >= ",
    );
    let contents = contents.bind(Value::Time(found.from)).sql(" AND e.timestamp < ").bind(Value::Time(found.to));
    let contents = contents.execute(conn).await?;
    let last = Statement::<(BigInt, BigInt)>::new("SELECT txid, seq FROM mesh_six_events WHERE timestamp >= ");
    let last = last.bind(Value::Time(found.from)).sql(" AND timestamp < ").bind(Value::Time(found.to));
    let last: Vec<(i64, i64)> = last.sql(" ORDER BY txid DESC, seq DESC LIMIT 1").load(conn).await?;
    let (txid, seq) = last.into_iter().next().unwrap_or_default();
    Statement::<()>::new(
        "INSERT INTO mesh_six_event_months (month, dropped_rows, dropped_at, last_txid, last_seq) VALUES (",
    )
    .bind(Value::Int(found.month.number()))
    .sql(", ")
    .bind(Value::Long(found.rows))
    .sql(", now(), ")
    .bind(Value::Long(txid))
    .sql(", ")
    .bind(Value::Long(seq))
    .sql(
        ") ON CONFLICT (month) DO UPDATE SET dropped_rows = excluded.dropped_rows, dropped_at = now(), \
             last_txid = excluded.last_txid, last_seq = excluded.last_seq",
    )
    .execute(conn)
    .await?;
    let mut head = None;
    for month in months(found.from, found.to) {
        let strays = Statement::<()>::new("DELETE FROM mesh_six_event_strays WHERE month = ");
        strays.bind(Value::Int(month.number())).execute(conn).await?;
        head = Some(seals::record_dropped(conn, month).await?);
    }
    // Names of partitions are our own; they need no quoting beyond this.
    let name = &found.partition;
    conn.batch_execute(&format!("ALTER TABLE mesh_six_events DETACH PARTITION \"{name}\"; DROP TABLE \"{name}\""))
        .await?;
    Ok(Dropped { partition: found.partition, month: found.month, rows: found.rows, contents, head })
}

async fn find(conn: &mut AsyncPgConnection, month: Month) -> DbResult<Candidate> {
    let all = partitions::list(conn).await?;
    let of_month = all.into_iter().find(|p| p.from.is_some_and(|from| Month::of(from) == month));
    let found = match of_month {
        Some(partition) => candidate(conn, partition).await?,
        None => None,
    };
    found.ok_or_else(|| ApiError::not_found(format!("no partition begins with the month {month}")).into())
}
