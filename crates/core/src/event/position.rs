//! A place in the log's stable order, as one opaque token (events.md §4).

use std::{fmt, str::FromStr};

use chrono::{DateTime, Datelike, Utc};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::ApiError;

/// After which event to read on. Ordered by (txid, seq).
///
/// Text form: `1-{txid}-{seq}-{YYYYMM}`, numbers in hex except the floor; the leading 1 is the
/// form's version. Clients must treat it as opaque.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Position {
    /// The writing transaction of the last event that was read.
    pub txid: i64,
    /// Its number.
    pub seq: i64,
    /// No event after this position was recorded before this month, as `YYYYMM`. It lets a reader skip
    /// old partitions; it is the month before the event's, since recording times are the starts of
    /// transactions and do not quite follow the order.
    pub floor: i32,
}

impl Position {
    /// Before the first event.
    pub const START: Self = Self { txid: 0, seq: 0, floor: 0 };

    /// The position of an event.
    pub fn of(txid: i64, seq: i64, timestamp: DateTime<Utc>) -> Self {
        let (year, month) = (timestamp.year(), timestamp.month().cast_signed());
        let floor = if month == 1 { (year - 1) * 100 + 12 } else { year * 100 + month - 1 };
        Self { txid, seq, floor }
    }

    /// The first moment of the floor's month; `None` at the start of the log.
    pub fn floor_time(self) -> Option<DateTime<Utc>> {
        let (year, month) = (self.floor / 100, u32::try_from(self.floor % 100).ok()?);
        Some(chrono::NaiveDate::from_ymd_opt(year, month, 1)?.and_hms_opt(0, 0, 0)?.and_utc())
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "1-{:x}-{:x}-{:06}", self.txid, self.seq, self.floor)
    }
}

impl FromStr for Position {
    type Err = ApiError;

    fn from_str(text: &str) -> Result<Self, ApiError> {
        let read = || {
            let mut parts = text.split('-');
            let version = parts.next()?;
            let txid = i64::from_str_radix(parts.next()?, 16).ok()?;
            let seq = i64::from_str_radix(parts.next()?, 16).ok()?;
            let floor: i32 = parts.next()?.parse().ok()?;
            let whole = version == "1" && parts.next().is_none() && txid >= 0 && seq >= 0 && floor >= 0;
            let position = Self { txid, seq, floor };
            // One text per position: other spellings of the same numbers were never handed out by us.
            (whole && (floor == 0 || position.floor_time().is_some()) && position.to_string() == text)
                .then_some(position)
        };
        read().ok_or_else(|| {
            ApiError::validation("position", "not a position of this log; take one from an event or leave it out")
        })
    }
}

impl Serialize for Position {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Position {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?.parse().map_err(|e: ApiError| serde::de::Error::custom(e.message))
    }
}

impl utoipa::PartialSchema for Position {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
        String::schema()
    }
}
impl utoipa::ToSchema for Position {}

impl schemars::JsonSchema for Position {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Position".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({"type": "string"})
    }
}
