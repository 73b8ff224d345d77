//! What an event must be like before it is written (events.md §1, §6).

use chrono::{DateTime, Duration, Utc};
use serde_json::{Map, Value, json};

use super::{Event, EventKey, catalogue, payload::Truncated};
use crate::{
    ApiError, Validate,
    text::{beginning, has_nul},
};

/// A payload larger than this is cut, in bytes of JSON text.
pub const MAX_PAYLOAD_BYTES: usize = 64 * 1024;
/// Members up to this size survive a cut, in bytes of JSON text.
const KEPT_MEMBER_BYTES: usize = 1024;
/// All of them together.
const KEPT_BYTES: usize = 16 * 1024;
/// Of the whole text, this much survives.
const BEGINNING_BYTES: usize = 1024;
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
        if has_nul(&self.payload) {
            return Err(ApiError::validation("payload", "PostgreSQL cannot keep the character U+0000"));
        }
        Ok(())
    }
}

impl Event {
    /// Checks the event against the clock as well: `occurred_at` at most 24 h ahead and not before 1970, the
    /// key's time not absurd.
    /// Returns the key's place.
    pub fn check(&self, now: DateTime<Utc>) -> Result<Option<EventKey>, ApiError> {
        self.validate()?;
        if self.occurred_at > now + MAX_AHEAD {
            return Err(ApiError::validation("occurredAt", "more than 24 hours ahead of the database's clock"));
        }
        if self.occurred_at < DateTime::UNIX_EPOCH {
            return Err(ApiError::validation("occurredAt", "before 1970"));
        }
        self.idempotency_key.as_deref().map(|k| EventKey::parse(k, now)).transpose()
    }

    /// Cuts a payload over 64 KiB: a marker ([`super::payload::Truncated`]) with the original length and the
    /// beginning of the text, and the members of at most 1 KiB each, so that its small facts survive.
    #[must_use]
    pub fn with_bounded_payload(mut self) -> Self {
        let body = self.payload.to_string();
        if body.len() <= MAX_PAYLOAD_BYTES {
            return self;
        }
        let mut kept = match self.payload {
            Value::Object(members) => members,
            _ => Map::new(),
        };
        let mut room = KEPT_BYTES;
        kept.retain(|name, member| {
            let size = name.len() + member.to_string().len();
            let keep = size <= KEPT_MEMBER_BYTES && size <= room;
            room -= if keep { size } else { 0 };
            keep
        });
        let marker = Truncated {
            truncated: true,
            original_length: body.len(),
            beginning: beginning(&body, BEGINNING_BYTES).to_owned(),
        };
        if let Value::Object(marker) = json!(marker) {
            kept.extend(marker);
        }
        self.payload = Value::Object(kept);
        self
    }
}

pub(super) fn check_type(name: &str) -> Result<(), ApiError> {
    let mut bytes = name.bytes();
    let first = bytes.next().is_some_and(|b| b.is_ascii_lowercase());
    let rest = bytes.all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_' || b == b'.');
    if first && rest && (3..=64).contains(&name.len()) {
        return Ok(());
    }
    Err(ApiError::validation("eventType", "a type is 3 to 64 of a-z, 0-9, _ and ., and begins with a letter"))
}

pub(super) fn text(field: &str, value: &str, max: usize) -> Result<(), ApiError> {
    if value.is_empty() || value.len() > max || value.contains('\0') {
        return Err(ApiError::validation(field, format!("1 to {max} bytes without U+0000")));
    }
    Ok(())
}
