//! W3C trace context: the trace id that joins a task's rows, messages and spans.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uuid::Uuid;

use crate::{ApiError, id::new_id};

/// A W3C trace id: 16 bytes, not all zero, 32 lower-case hex digits in text.
///
/// Kept as a `uuid` in the database. Ours are `UUIDv7`s, so that they begin with a time.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TraceId(Uuid);

impl TraceId {
    /// A new trace id that begins with the time.
    #[expect(clippy::new_without_default, reason = "a default that differs each time would surprise")]
    pub fn new() -> Self {
        Self(new_id())
    }

    /// The database's form.
    pub fn as_uuid(self) -> Uuid {
        self.0
    }

    /// From the database's form.
    pub fn from_uuid(id: Uuid) -> Self {
        Self(id)
    }

    /// The trace id of a W3C `traceparent` header, if that header is valid. A header of a later version than
    /// 00 may go on after the flags.
    pub fn from_traceparent(header: &str) -> Option<Self> {
        let mut parts = header.split('-');
        let version = parts.next()?;
        let trace = parts.next()?;
        let (parent, flags) = (parts.next()?, parts.next()?);
        let hex =
            |s: &str, n: usize| s.len() == n && s.bytes().all(|b| b.is_ascii_hexdigit() && !b.is_ascii_uppercase());
        let ends = version != "00" || parts.next().is_none();
        let whole = hex(version, 2) && version != "ff" && hex(trace, 32) && hex(parent, 16) && hex(flags, 2) && ends;
        (whole && parent.bytes().any(|b| b != b'0')).then(|| trace.parse().ok())?
    }

    /// A `traceparent` header for this trace with a new random parent span, sampled.
    pub fn to_traceparent(self) -> String {
        let span = new_id().as_u64_pair().1 | 1;
        format!("00-{self}-{span:016x}-01")
    }
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.simple())
    }
}

impl fmt::Debug for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for TraceId {
    type Err = ApiError;

    /// Accepts 32 hex digits, or the same with a UUID's hyphens.
    fn from_str(text: &str) -> Result<Self, ApiError> {
        let shape = matches!(text.len(), 32 | 36);
        match Uuid::try_parse(text) {
            Ok(id) if shape && !id.is_nil() => Ok(Self(id)),
            _ => Err(ApiError::validation("traceId", "a trace id is 32 hex digits and not all zero")),
        }
    }
}

impl Serialize for TraceId {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for TraceId {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?.parse().map_err(|e: ApiError| serde::de::Error::custom(e.message))
    }
}

impl utoipa::PartialSchema for TraceId {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
        String::schema()
    }
}
impl utoipa::ToSchema for TraceId {}

impl schemars::JsonSchema for TraceId {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "TraceId".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({"type": "string", "pattern": "^[0-9a-f]{32}$"})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn traceparent_round_trip_and_refusals() {
        let trace = TraceId::new();
        assert_eq!(TraceId::from_traceparent(&trace.to_traceparent()), Some(trace));
        for bad in [
            "",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00F067AA0BA902B7-01x",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
        ] {
            assert_eq!(TraceId::from_traceparent(bad), None, "{bad}");
        }
    }
}
