//! What verification finds, in words for people and in fields for programs.

use std::fmt;

use mesh_six_core::event::Position;
use serde::Serialize;
use uuid::Uuid;

use super::{Hash, Month, format::Place};

/// The first thing that is not as it was sealed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Difference {
    /// A row of a sealed range is not what it was.
    Row(RowDifference),
    /// A row stands in a month that was closed, after its last sealed row.
    RowInClosedMonth {
        /// The month.
        month: Month,
        /// How many such rows there are.
        rows: i64,
        /// The first of them, where it is found.
        id: Option<Uuid>,
    },
    /// The rows differ from the seal, but not in what its index tells of them (one change in four thousand million).
    Rows {
        /// The seal.
        seal: i64,
        /// The month of its rows.
        month: Month,
    },
    /// The partition of the month is gone, and no seal says that it was dropped.
    MonthMissing {
        /// The first seal of it.
        seal: i64,
        /// The month.
        month: Month,
    },
    /// A seal is missing from the chain.
    SealMissing {
        /// Its number.
        seal: i64,
    },
    /// A seal's own fields do not give its hash.
    SealChanged {
        /// Its number.
        seal: i64,
    },
    /// A seal does not contain the hash of the one before it: one of the two was replaced.
    ChainBroken {
        /// The later of the two.
        seal: i64,
    },
    /// A seal does not begin where the month's one before it ends, or follows the one that closed the month.
    RangeBroken {
        /// Its number.
        seal: i64,
        /// The month.
        month: Month,
    },
    /// No seal has the hash that was noted: the chain was rewritten or cut off.
    ExpectedMissing {
        /// The noted hash.
        hash: Hash,
    },
}

/// Which row, and what is the matter with it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RowDifference {
    /// The seal that covers it.
    pub seal: i64,
    /// The month that holds it, or held it.
    pub month: Month,
    /// The row's transaction.
    pub txid: i64,
    /// The row's number.
    pub seq: i64,
    /// The same as an opaque position.
    pub position: Position,
    /// The event's id, if there is a row at that position.
    pub id: Option<Uuid>,
    /// What was done to it.
    #[serde(flatten)]
    pub change: RowChange,
}

/// What was done to a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "change", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum RowChange {
    /// Something in it differs.
    Changed,
    /// It was removed.
    Removed,
    /// It was not there when the range was sealed.
    Inserted,
    /// It and another row have changed places.
    Swapped {
        /// Where its content was sealed.
        with: Position,
    },
    /// It has another place in the order now.
    Moved {
        /// Where its content is now.
        to: Position,
    },
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Row(row) => row.fmt(f),
            Self::RowInClosedMonth { month, rows, id } => {
                write!(f, "{month} was closed, but has {rows} rows that no seal covers")?;
                id.map_or(Ok(()), |id| write!(f, "; the first is event {id}"))
            }
            Self::Rows { seal, month } => write!(
                f,
                "the rows of seal {seal} ({month}) are not those that were sealed, but its index cannot tell which"
            ),
            Self::MonthMissing { seal, month } => {
                write!(f, "the rows of {month} are gone (seal {seal}), and no seal says that the month was dropped")
            }
            Self::SealMissing { seal } => write!(f, "seal {seal} is missing"),
            Self::SealChanged { seal } => write!(f, "seal {seal} itself was changed: its fields do not give its hash"),
            Self::ChainBroken { seal } => {
                write!(f, "seal {seal} does not contain the hash of seal {}: one of them was replaced", seal - 1)
            }
            Self::RangeBroken { seal, month } => {
                write!(f, "seal {seal} does not go on where the one before it in {month} ends")
            }
            Self::ExpectedMissing { hash } => {
                write!(f, "no seal has the expected hash {hash}: the chain was rewritten or cut off")
            }
        }
    }
}

impl fmt::Display for RowDifference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seal, month, txid, seq, id, change, .. } = self;
        write!(f, "seal {seal} ({month}): the row at txid {txid}, seq {seq}")?;
        if let Some(id) = id {
            write!(f, " (event {id})")?;
        }
        match change {
            RowChange::Changed => write!(f, " was changed"),
            RowChange::Removed => write!(f, " was removed"),
            RowChange::Inserted => write!(f, " was inserted later"),
            RowChange::Swapped { with } => {
                write!(f, " changed places with the one at txid {}, seq {}", with.txid, with.seq)
            }
            RowChange::Moved { to } => write!(f, " was moved to txid {}, seq {}", to.txid, to.seq),
        }
    }
}

/// The opaque position of a place in `month`.
pub(super) fn position(place: Place, month: Month) -> Position {
    Position::of(place.txid, place.seq, month.from())
}
