//! Sealing: what lies below the horizon is hashed, range by range, and added to the chain.

use std::time::Duration;

use diesel_async::{AsyncConnection, AsyncPgConnection};
use mesh_six_core::ApiError;
use serde::Serialize;
use tracing::info;

use super::{
    Head, Month,
    close::may_close,
    format::RowsHasher,
    model::{self, Kind, Seal},
    rows::{self, Range},
    unsealed,
};
use crate::{
    error::{DbError, DbResult},
    metrics,
    pool::Database,
};

/// The most rows that a seal may be told to cover. The index of its rows is held in memory.
const MOST_ROWS: u32 = 100_000;

/// How to seal.
#[derive(Clone, Copy, Debug)]
pub struct SealOptions {
    /// Rows that one seal covers at most, 1 to 100,000.
    pub max_rows_per_seal: u32,
    /// How long after its end a month is closed at the earliest. An hour at least where the role lacks
    /// `pg_read_all_stats` and thus cannot see other people's transactions.
    pub close_after: Duration,
}

impl Default for SealOptions {
    /// 10,000 rows a seal; a month is closed ten minutes after its end.
    fn default() -> Self {
        Self { max_rows_per_seal: 10_000, close_after: Duration::from_mins(10) }
    }
}

/// What was sealed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SealReport {
    /// Rows that were sealed now.
    pub rows: i64,
    /// Seals that were made now, those that close months included.
    pub seals: i64,
    /// Months that were closed now.
    pub closed: Vec<Month>,
    /// The chain's newest seal, whoever made it. Noted elsewhere, it proves later that nothing was rewritten.
    pub head: Option<Head>,
}

/// Seals all rows below the horizon and closes the months that can be closed. Each seal is a transaction of its
/// own, and sealers take turns, so any number of them make one chain; [`DbError::Locked`] if another one has kept
/// this one waiting for too long.
pub async fn seal(db: &Database, options: SealOptions) -> DbResult<SealReport> {
    if !(1..=MOST_ROWS).contains(&options.max_rows_per_seal) {
        return Err(ApiError::validation("maxRowsPerSeal", format!("must be from 1 to {MOST_ROWS}")).into());
    }
    let mut conn = db.conn().await?;
    let mut report = SealReport::default();
    for month in unsealed::months(&mut conn).await? {
        if model::last_of(&mut conn, month).await?.is_some_and(|seal| !seal.is(Kind::Rows)) {
            continue;
        }
        while let Some((rows, _)) = seal_range(&mut conn, month, options.max_rows_per_seal).await? {
            report.rows += rows;
            report.seals += 1;
            if rows < i64::from(options.max_rows_per_seal) {
                break;
            }
        }
        if close(&mut conn, month, options.close_after).await? {
            report.seals += 1;
            report.closed.push(month);
        }
    }
    report.head = model::head(&mut conn).await?;
    Ok(report)
}

/// Records in the chain that the rows of a closed month were dropped; without it, verification takes them for
/// missing. Retention calls it in the transaction that drops the partition, and logs the head once that is
/// committed.
pub async fn record_dropped(conn: &mut AsyncPgConnection, month: Month) -> DbResult<Head> {
    model::lock(conn).await?;
    let last = model::last_of(conn, month).await?;
    let Some(last) = last.filter(|seal| seal.is(Kind::Closed)) else {
        let refusal = ApiError::validation("month", format!("{month} is not closed, or was dropped before"));
        return Err(refusal.into());
    };
    model::append(conn, month, Kind::Dropped, last.to(), RowsHasher::default().finish()).await
}

/// Whether the month is sealed whole: no row of it can come any more. Not so for one that was dropped.
pub async fn is_closed(conn: &mut AsyncPgConnection, month: Month) -> DbResult<bool> {
    Ok(model::last_of(conn, month).await?.is_some_and(|seal| seal.is(Kind::Closed)))
}

/// The chain's newest seal.
pub async fn head(conn: &mut AsyncPgConnection) -> DbResult<Option<Head>> {
    model::head(conn).await
}

/// Makes the next seal of a month, if it has rows that can be sealed.
async fn seal_range(conn: &mut AsyncPgConnection, month: Month, limit: u32) -> DbResult<Option<(i64, Head)>> {
    let made = conn
        .transaction::<_, DbError, _>(async |conn| {
            model::lock(conn).await?;
            let last = model::last_of(conn, month).await?;
            if last.as_ref().is_some_and(|seal| !seal.is(Kind::Rows)) {
                return Ok(None);
            }
            let after = last.as_ref().map(Seal::to).unwrap_or_default();
            let range = Range { month, after, up_to: None, limit: limit.into() };
            let rows = rows::hash(conn, range).await?;
            let count = rows.count();
            if count == 0 {
                return Ok(None);
            }
            Ok(Some((count, model::append(conn, month, Kind::Rows, after, rows).await?)))
        })
        .await?;
    if let Some((rows, head)) = made {
        announce(head, month, Kind::Rows, rows);
    }
    Ok(made)
}

/// Closes the month if nothing of it is missing and nothing can come; whether it did.
async fn close(conn: &mut AsyncPgConnection, month: Month, wait: Duration) -> DbResult<bool> {
    // Asked before the lock is taken, since it is nearly always no.
    if !may_close(conn, month.to(), wait).await? {
        return Ok(false);
    }
    let closed = conn
        .transaction::<_, DbError, _>(async |conn| {
            model::lock(conn).await?;
            let last = model::last_of(conn, month).await?;
            let after = last.as_ref().map(Seal::to).unwrap_or_default();
            // What the month's last transactions left is visible now, but may still be above the horizon.
            let open = last.is_none_or(|seal| seal.is(Kind::Rows));
            if !open || unsealed::any(conn, month, after).await? {
                return Ok(None);
            }
            model::append(conn, month, Kind::Closed, after, RowsHasher::default().finish()).await.map(Some)
        })
        .await?;
    if let Some(head) = closed {
        announce(head, month, Kind::Closed, 0);
    }
    Ok(closed.is_some())
}

/// Every new head is in the process's log, which is another place than the database: it can be compared later.
fn announce(head: Head, month: Month, kind: Kind, rows: i64) {
    metrics::sealed(rows);
    info!(
        seal.number = head.number,
        seal.hash = %head.hash,
        seal.month = %month,
        seal.kind = kind.as_str(),
        seal.rows = rows,
        "the chain of seals has a new head"
    );
}
