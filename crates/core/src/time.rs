//! Times on the wire: RFC 3339, UTC, microseconds, always with `Z` (events.md §7).

use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Deserialize, Deserializer, Serializer};

/// `time` as text, such as `2026-11-23T04:43:04.000001Z`.
pub fn format(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Micros, true)
}

/// The database keeps microseconds; so do we, or a value read back would differ from the one written.
pub fn now() -> DateTime<Utc> {
    truncate(Utc::now())
}

/// `time` without what is below a microsecond.
pub fn truncate(time: DateTime<Utc>) -> DateTime<Utc> {
    DateTime::from_timestamp_micros(time.timestamp_micros()).unwrap_or(time)
}

/// For `#[serde(with = "time::micros")]`.
pub mod micros {
    use super::{DateTime, Deserialize, Deserializer, Serializer, Utc};

    /// Writes the time with microseconds.
    pub fn serialize<S: Serializer>(time: &DateTime<Utc>, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&super::format(*time))
    }

    /// Reads any RFC 3339 time.
    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<DateTime<Utc>, D::Error> {
        DateTime::<Utc>::deserialize(from).map(super::truncate)
    }
}

/// For `#[serde(with = "time::micros_option", default)]`.
pub mod micros_option {
    use super::{DateTime, Deserialize, Deserializer, Serializer, Utc};

    /// Writes the time with microseconds, or null.
    pub fn serialize<S: Serializer>(time: &Option<DateTime<Utc>>, to: S) -> Result<S::Ok, S::Error> {
        match time {
            Some(time) => to.serialize_some(&super::format(*time)),
            None => to.serialize_none(),
        }
    }

    /// Reads any RFC 3339 time, or null.
    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<DateTime<Utc>>, D::Error> {
        Ok(Option::<DateTime<Utc>>::deserialize(from)?.map(super::truncate))
    }
}
