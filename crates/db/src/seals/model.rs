//! The table of seals.

use chrono::{DateTime, Utc};
use diesel::{prelude::*, sql_types::BigInt};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use serde::Serialize;

use super::{
    Month,
    format::{Hash, Place, Rows, SealForm},
};
use crate::{
    clock,
    error::{DbError, DbResult},
    schema::mesh_six_event_seals as seals,
    statement::Statement,
};

/// Sealers take turns: each seal is a transaction that holds this lock from its first statement to its end.
const LOCK: &str = "SELECT pg_advisory_xact_lock(hashtextextended('mesh_six_seals', 0)) IS NULL";

diesel::define_sql_function! {
    /// The server's own, so that an index need not be sent to be checked.
    fn sha256(bytes: diesel::sql_types::Binary) -> Binary;
}

/// The newest seal of a chain. Noted somewhere else, it vouches for everything up to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Head {
    /// Its number, from 1 without gaps.
    pub number: i64,
    /// Its hash.
    pub hash: Hash,
}

/// What a seal says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// These rows are the range's.
    Rows,
    /// No row of the month can come any more.
    Closed,
    /// The month's rows were dropped.
    Dropped,
}

impl Kind {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Rows => "rows",
            Self::Closed => "closed",
            Self::Dropped => "dropped",
        }
    }
}

/// A row of the table without its index, which is read only where a row is searched.
#[derive(Clone, Debug, Queryable, Selectable, Insertable)]
#[diesel(table_name = seals, check_for_backend(diesel::pg::Pg))]
pub(super) struct Seal {
    pub(super) number: i64,
    pub(super) month: i32,
    pub(super) kind: String,
    pub(super) from_txid: i64,
    pub(super) from_seq: i64,
    pub(super) to_txid: i64,
    pub(super) to_seq: i64,
    pub(super) row_count: i64,
    pub(super) rows_hash: Vec<u8>,
    pub(super) previous_hash: Vec<u8>,
    pub(super) hash: Vec<u8>,
    pub(super) created_at: DateTime<Utc>,
}

impl Seal {
    pub(super) fn from(&self) -> Place {
        Place { txid: self.from_txid, seq: self.from_seq }
    }

    pub(super) fn to(&self) -> Place {
        Place { txid: self.to_txid, seq: self.to_seq }
    }

    pub(super) fn is(&self, kind: Kind) -> bool {
        self.kind == kind.as_str()
    }

    /// Number and hash, as they are stored.
    pub(super) fn head(&self) -> Head {
        Head { number: self.number, hash: stored(&self.hash) }
    }

    /// The hash that the seal's own fields give, with the hash of its index.
    pub(super) fn computed_hash(&self, index_hash: Hash) -> Hash {
        let form = SealForm {
            number: self.number,
            month: self.month,
            kind: &self.kind,
            from: self.from(),
            to: self.to(),
            row_count: self.row_count,
            created_at: self.created_at,
            rows_hash: stored(&self.rows_hash),
            index_hash,
            previous_hash: stored(&self.previous_hash),
        };
        form.hash()
    }
}

/// The table's constraints allow no other length than a hash's.
pub(super) fn stored(bytes: &[u8]) -> Hash {
    Hash::try_from(bytes).unwrap_or(Hash::ZERO)
}

/// Waits until no other sealer works, and keeps others away until the transaction ends.
pub(super) async fn lock(conn: &mut AsyncPgConnection) -> DbResult<()> {
    Statement::<(diesel::sql_types::Bool,)>::new(LOCK).execute(conn).await?;
    Ok(())
}

/// The newest seal.
pub(super) async fn head(conn: &mut AsyncPgConnection) -> DbResult<Option<Head>> {
    let newest: Option<Seal> =
        seals::table.order(seals::number.desc()).select(Seal::as_select()).first(conn).await.optional()?;
    Ok(newest.as_ref().map(Seal::head))
}

/// The newest seal of a month.
pub(super) async fn last_of(conn: &mut AsyncPgConnection, month: Month) -> DbResult<Option<Seal>> {
    Ok(seals::table
        .filter(seals::month.eq(month.number()))
        .order(seals::number.desc())
        .select(Seal::as_select())
        .first(conn)
        .await
        .optional()?)
}

/// The seals after number `after`, up to and with number `up_to`, at most `limit`, each with the hash of its index.
pub(super) async fn page(
    conn: &mut AsyncPgConnection,
    after: i64,
    up_to: i64,
    limit: i64,
) -> DbResult<Vec<(Seal, Hash)>> {
    let rows: Vec<(Seal, Vec<u8>)> = seals::table
        .filter(seals::number.gt(after).and(seals::number.le(up_to)))
        .order(seals::number)
        .limit(limit)
        .select((Seal::as_select(), sha256(seals::row_index)))
        .load(conn)
        .await?;
    Ok(rows.into_iter().map(|(seal, index_hash)| (seal, stored(&index_hash))).collect())
}

/// The index of a seal's rows.
pub(super) async fn index(conn: &mut AsyncPgConnection, number: i64) -> DbResult<Vec<u8>> {
    Ok(seals::table.find(number).select(seals::row_index).first(conn).await?)
}

/// Whether the seals say that the month's rows were dropped.
pub(super) async fn is_dropped(conn: &mut AsyncPgConnection, month: i32) -> DbResult<bool> {
    let dropped = seals::table.filter(seals::month.eq(month).and(seals::kind.eq(Kind::Dropped.as_str())));
    Ok(diesel::select(diesel::dsl::exists(dropped)).get_result(conn).await?)
}

/// All months that have seals, oldest first. Jumps from month to month in the index.
pub(super) async fn months(conn: &mut AsyncPgConnection) -> DbResult<Vec<Month>> {
    let mut months = Vec::new();
    let mut after = i32::MIN;
    let next = |after| seals::table.filter(seals::month.gt(after)).select(seals::month).order(seals::month).limit(1);
    while let Some(number) = next(after).first::<i32>(conn).await.optional()? {
        months.extend(Month::from_number(number));
        after = number;
    }
    Ok(months)
}

/// Appends a seal to the chain. The caller holds the lock.
pub(super) async fn append(
    conn: &mut AsyncPgConnection,
    month: Month,
    kind: Kind,
    from: Place,
    rows: Rows,
) -> DbResult<Head> {
    let previous = head(conn).await?;
    let to = rows.last.unwrap_or(from);
    let mut seal = Seal {
        number: previous.map_or(1, |head| head.number + 1),
        month: month.number(),
        kind: kind.as_str().to_owned(),
        from_txid: from.txid,
        from_seq: from.seq,
        to_txid: to.txid,
        to_seq: to.seq,
        row_count: rows.count(),
        rows_hash: rows.hash.as_bytes().to_vec(),
        previous_hash: previous.map_or(Hash::ZERO, |head| head.hash).as_bytes().to_vec(),
        hash: Vec::new(),
        created_at: clock::now(conn).await?,
    };
    seal.hash = seal.computed_hash(Hash::of(&rows.index)).as_bytes().to_vec();
    diesel::insert_into(seals::table)
        .values((&seal, seals::row_index.eq(rows.index)))
        .execute(conn)
        .await
        .map_err(DbError::from)?;
    Ok(seal.head())
}

/// How many seals and sealed rows there are from number `from` on.
pub(super) async fn totals(conn: &mut AsyncPgConnection, from: i64) -> DbResult<(i64, i64)> {
    let totals = Statement::<(BigInt, BigInt)>::new(
        "SELECT count(*), coalesce(sum(row_count), 0)::bigint FROM mesh_six_event_seals WHERE number >= ",
    );
    Ok(totals.bind(crate::statement::Value::Long(from)).get_result(conn).await?)
}
