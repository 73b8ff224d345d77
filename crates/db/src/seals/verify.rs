//! Verification: every seal and the rows that it covers, recomputed in the order of the chain, up to the first
//! difference.

use std::collections::BTreeMap;

use diesel_async::AsyncPgConnection;
use mesh_six_core::ApiError;
use serde::Serialize;

use super::{
    Difference, Hash, Head, Month, RowChange, RowDifference, Unsealed,
    difference::position,
    format::Place,
    locate::{self, What},
    model::{self, Kind, Seal, stored},
    rows::{self, Range},
    unsealed,
};
use crate::{error::DbResult, pool::Database};

/// Seals that are read at once.
const PAGE: i64 = 256;

/// What to verify.
#[derive(Clone, Copy, Debug, Default)]
pub struct VerifyOptions {
    /// A hash that was noted somewhere else. Some seal must have it; then everything up to that seal is vouched for,
    /// even against somebody who rewrote rows and seals together.
    pub expect: Option<Hash>,
    /// Begin with the seal of this number and believe those before it; `None` verifies all.
    pub from: Option<i64>,
}

/// How far verification has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Sealed rows that are verified.
    pub rows: i64,
    /// Sealed rows in all, as the seals count them.
    pub of_rows: i64,
    /// Seals that are verified.
    pub seals: i64,
    /// Seals in all.
    pub of_seals: i64,
}

/// A hash that was expected and found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Expected {
    /// The seal that has it. Later seals are consistent, but not vouched for.
    pub seal: i64,
    /// The hash.
    pub hash: Hash,
}

/// What verification found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct VerifyReport {
    /// The first difference; `None` if all is as it was sealed.
    pub difference: Option<Difference>,
    /// Seals that are right.
    pub seals: i64,
    /// Rows that are right.
    pub rows: i64,
    /// The newest seal that is right.
    pub head: Option<Head>,
    /// The seal with the expected hash.
    pub expected: Option<Expected>,
    /// Months that are sealed whole.
    pub closed: Vec<Month>,
    /// Months whose rows were dropped; of these only the seals are verified.
    pub dropped: Vec<Month>,
    /// Rows that are not verified, since no seal covers them yet.
    pub unsealed: Unsealed,
}

impl VerifyReport {
    /// Whether everything that was sealed is as it was.
    pub fn is_intact(&self) -> bool {
        self.difference.is_none()
    }
}

/// Recomputes the chain from the rows up to the seal that is newest now. Memory stays constant; writers and sealers
/// are not held up. `progress` is called after every seal.
pub async fn verify(
    db: &Database,
    options: VerifyOptions,
    mut progress: impl FnMut(Progress) + Send,
) -> DbResult<VerifyReport> {
    let mut conn = db.conn().await?;
    let conn = &mut *conn;
    let head = model::head(conn).await?;
    let newest = head.map_or(0, |head| head.number);
    let first = options.from.unwrap_or(1);
    if first != 1 && !(1..=newest).contains(&first) {
        return Err(ApiError::validation("from", format!("must be the number of a seal, from 1 to {newest}")).into());
    }
    let (of_seals, of_rows) = model::totals(conn, first).await?;
    let mut chain = Chain::begin(conn, first, options.expect).await?;
    while chain.report.difference.is_none() && chain.next <= newest {
        let seals = model::page(conn, chain.next - 1, newest, PAGE).await?;
        if seals.is_empty() {
            chain.report.difference = Some(Difference::SealMissing { seal: chain.next });
        }
        for (seal, index_hash) in seals {
            chain.report.difference = chain.check(conn, &seal, index_hash).await?;
            if chain.report.difference.is_some() {
                break;
            }
            progress(Progress { rows: chain.report.rows, of_rows, seals: chain.report.seals, of_seals });
        }
    }
    if let (None, None, Some(hash)) = (&chain.report.difference, chain.report.expected, options.expect) {
        chain.report.difference = Some(Difference::ExpectedMissing { hash });
    }
    chain.finish(conn).await
}

/// The state of a walk along the chain.
struct Chain {
    report: VerifyReport,
    expect: Option<Hash>,
    /// Whether seals before the walk are only believed.
    partial: bool,
    next: i64,
    previous: Hash,
    /// Where the sealed part of each month ends, and how.
    months: BTreeMap<i32, Seal>,
}

impl Chain {
    async fn begin(conn: &mut AsyncPgConnection, first: i64, expect: Option<Hash>) -> DbResult<Self> {
        let mut chain = Self {
            report: VerifyReport::default(),
            expect,
            partial: first > 1,
            next: first,
            previous: Hash::ZERO,
            months: BTreeMap::new(),
        };
        if let Some((believed, _)) = model::page(conn, first - 2, first - 1, 1).await?.first() {
            chain.previous = stored(&believed.hash);
            chain.meet_expected(believed.head());
        }
        Ok(chain)
    }

    fn meet_expected(&mut self, head: Head) {
        if self.expect == Some(head.hash) {
            self.report.expected = Some(Expected { seal: head.number, hash: head.hash });
        }
    }

    /// The first difference of `seal`, after which the walk ends.
    async fn check(
        &mut self,
        conn: &mut AsyncPgConnection,
        seal: &Seal,
        index_hash: Hash,
    ) -> DbResult<Option<Difference>> {
        let number = seal.number;
        if number != self.next {
            return Ok(Some(Difference::SealMissing { seal: self.next }));
        }
        if seal.computed_hash(index_hash) != stored(&seal.hash) {
            return Ok(Some(Difference::SealChanged { seal: number }));
        }
        if stored(&seal.previous_hash) != self.previous {
            return Ok(Some(Difference::ChainBroken { seal: number }));
        }
        let Some(month) = Month::from_number(seal.month) else {
            return Ok(Some(Difference::SealChanged { seal: number }));
        };
        if !self.continues(seal) {
            return Ok(Some(Difference::RangeBroken { seal: number, month }));
        }
        let rows = match check_rows(conn, seal, month).await? {
            Ok(rows) => rows,
            Err(difference) => return Ok(Some(difference)),
        };
        self.months.insert(seal.month, seal.clone());
        self.next += 1;
        self.previous = stored(&seal.hash);
        self.report.seals += 1;
        self.report.rows += rows;
        self.report.head = Some(seal.head());
        self.meet_expected(seal.head());
        Ok(None)
    }

    /// Whether the seal follows the month's one before it: no gap, no overlap, nothing after the end.
    fn continues(&self, seal: &Seal) -> bool {
        match self.months.get(&seal.month) {
            Some(before) if before.is(Kind::Rows) => seal.from() == before.to() && !seal.is(Kind::Dropped),
            Some(before) => before.is(Kind::Closed) && seal.is(Kind::Dropped) && seal.from() == before.to(),
            None => self.partial || seal.from() == Place::default(),
        }
    }

    /// What lies beyond the seals: rows that are not covered, and rows that must not be there.
    async fn finish(mut self, conn: &mut AsyncPgConnection) -> DbResult<VerifyReport> {
        for month in unsealed::months(conn).await? {
            let last = model::last_of(conn, month).await?;
            let beyond = unsealed::of(conn, month, last.as_ref()).await?;
            let Some(last) = last.filter(|seal| !seal.is(Kind::Rows)) else {
                self.report.unsealed.rows += beyond.rows;
                self.report.unsealed.oldest = self.report.unsealed.oldest.into_iter().chain(beyond.oldest).min();
                continue;
            };
            if last.is(Kind::Closed) {
                self.report.closed.push(month);
            } else {
                self.report.dropped.push(month);
            }
            if self.report.difference.is_none() && beyond.rows > 0 {
                let id = unsealed::first_id(conn, month, last.to()).await?;
                self.report.difference = Some(Difference::RowInClosedMonth { month, rows: beyond.rows, id });
            }
        }
        Ok(self.report)
    }
}

/// How many rows of the seal are right, all of them or, in a month that was dropped, none; or the first that is not.
async fn check_rows(conn: &mut AsyncPgConnection, seal: &Seal, month: Month) -> DbResult<Result<i64, Difference>> {
    if seal.row_count == 0 {
        return Ok(Ok(0));
    }
    // One more than there should be is enough to find the first one that should not be there.
    let limit = seal.row_count.saturating_add(1);
    let range = Range { month, after: seal.from(), up_to: Some(seal.to()), limit };
    let rows = rows::hash(conn, range).await?;
    if rows.hash == stored(&seal.rows_hash) {
        return Ok(Ok(seal.row_count));
    }
    if rows.count() == 0 {
        if model::is_dropped(conn, seal.month).await? {
            return Ok(Ok(0));
        }
        if !unsealed::with_partition(conn).await?.contains(&month) {
            return Ok(Err(Difference::MonthMissing { seal: seal.number, month }));
        }
    }
    let index = model::index(conn, seal.number).await?;
    let Some(found) = locate::first_difference(&index, &rows.index) else {
        return Ok(Err(Difference::Rows { seal: seal.number, month }));
    };
    let (change, now_at) = match found.what {
        What::Changed => (RowChange::Changed, found.place),
        What::Removed => (RowChange::Removed, found.place),
        What::Inserted => (RowChange::Inserted, found.place),
        What::Swapped(with) => (RowChange::Swapped { with: position(with, month) }, found.place),
        What::Moved(to) => (RowChange::Moved { to: position(to, month) }, to),
    };
    let Place { txid, seq } = found.place;
    let id = unsealed::id_at(conn, month, now_at).await?;
    let position = position(found.place, month);
    Ok(Err(Difference::Row(RowDifference { seal: seal.number, month, txid, seq, position, id, change })))
}
