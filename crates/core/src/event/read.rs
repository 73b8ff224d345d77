//! Reading payloads leniently: what is missing or of another type is absent, so that a cut payload or one of
//! a later version still tells what it can.

use serde::Deserialize;
use serde_json::Value;

use crate::{ErrorType, Event, Usage};

pub(super) fn text(event: &Event, name: &str) -> Option<String> {
    event.payload.get(name)?.as_str().map(str::to_owned)
}

pub(super) fn integer(event: &Event, name: &str) -> Option<i64> {
    event.payload.get(name)?.as_i64()
}

pub(super) fn flag(event: &Event, name: &str) -> Option<bool> {
    event.payload.get(name)?.as_bool()
}

pub(super) fn error_type(event: &Event, name: &str) -> Option<ErrorType> {
    event.payload.get(name)?.as_str().map(ErrorType::from_name)
}

pub(super) fn usage(event: &Event) -> Usage {
    event.payload.get("usage").and_then(|u| Usage::deserialize(u).ok()).unwrap_or_default()
}

/// Whether the member is there and not null.
pub(super) fn present(event: &Event, name: &str) -> bool {
    event.payload.get(name).is_some_and(|v| !matches!(v, Value::Null))
}
