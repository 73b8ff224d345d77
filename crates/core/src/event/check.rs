//! What an event must be like before it is written (events.md §1, §6).

use chrono::{DateTime, Duration, Utc};
use serde_json::{Value, json};

use super::{Event, EventKey, catalogue};
use crate::{ApiError, Validate};

/// A payload larger than this is cut, in bytes of JSON text.
pub const MAX_PAYLOAD_BYTES: usize = 64 * 1024;
/// How far ahead of the database's clock a producer's clock may be.
pub const MAX_AHEAD: Duration = Duration::hours(24);

impl Validate for Event {
    fn validate(&self) -> Result<(), ApiError> {
        check_type(&self.event_type)?;
        if let Some(known) = catalogue::known_version(&self.event_type)
            && !(1..=known).contains(&self.event_version)
        {
            return Err(ApiError::validation(
                "eventVersion",
                format!("{} is known up to version {known}, not {}", self.event_type, self.event_version),
            ));
        }
        if self.event_version < 1 {
            return Err(ApiError::validation("eventVersion", "versions count from 1"));
        }
        text("agentId", &self.agent_id, 128)?;
        if let Some(aggregate) = &self.aggregate_id {
            text("aggregateId", aggregate, 512)?;
        }
        if let Some(key) = &self.idempotency_key {
            text("idempotencyKey", key, super::key::MAX_KEY_BYTES)?;
        }
        if contains_nul(&self.payload) {
            return Err(ApiError::validation("payload", "PostgreSQL cannot keep the character U+0000"));
        }
        Ok(())
    }
}

impl Event {
    /// Checks the event against the clock as well: `occurred_at` at most 24 h ahead, the key's time not absurd.
    /// Returns the key's place.
    pub fn check(&self, now: DateTime<Utc>) -> Result<Option<EventKey>, ApiError> {
        self.validate()?;
        if self.occurred_at > now + MAX_AHEAD {
            return Err(ApiError::validation("occurredAt", "more than 24 hours ahead of the database's clock"));
        }
        self.idempotency_key.as_deref().map(|k| EventKey::parse(k, now)).transpose()
    }

    /// Cuts a payload over 64 KiB down to a marker with its original length and its beginning.
    #[must_use]
    pub fn with_bounded_payload(mut self) -> Self {
        let body = self.payload.to_string();
        if body.len() > MAX_PAYLOAD_BYTES {
            let mut end = 1024;
            while !body.is_char_boundary(end) {
                end -= 1;
            }
            self.payload = json!({"truncated": true, "originalLength": body.len(), "beginning": &body[..end]});
        }
        self
    }
}

fn check_type(name: &str) -> Result<(), ApiError> {
    let mut bytes = name.bytes();
    let first = bytes.next().is_some_and(|b| b.is_ascii_lowercase());
    let rest = bytes.all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_' || b == b'.');
    if first && rest && (3..=64).contains(&name.len()) {
        return Ok(());
    }
    Err(ApiError::validation("eventType", "a type is 3 to 64 of a-z, 0-9, _ and ., and begins with a letter"))
}

fn text(field: &str, value: &str, max: usize) -> Result<(), ApiError> {
    if value.is_empty() || value.len() > max || value.contains('\0') {
        return Err(ApiError::validation(field, format!("1 to {max} bytes without U+0000")));
    }
    Ok(())
}

fn contains_nul(value: &Value) -> bool {
    match value {
        Value::String(s) => s.contains('\0'),
        Value::Array(items) => items.iter().any(contains_nul),
        Value::Object(map) => map.iter().any(|(k, v)| k.contains('\0') || contains_nul(v)),
        _ => false,
    }
}
