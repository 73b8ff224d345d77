//! Numbers and strings within their bounds.

use serde_json::{Map, Number, Value};

use super::pattern;
use crate::text;

/// Longest text that is built; a schema that wants more gets none.
const MAX_CHARS: u64 = 100_000;

/// The whole part of a number that is not negative.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "`as` saturates, which suits a bound")]
pub(super) fn whole(number: f64) -> u64 {
    number as u64
}

#[expect(clippy::cast_possible_truncation, reason = "`as` saturates, which suits a bound")]
fn integral(number: f64) -> i128 {
    number as i128
}

fn bound(schema: &Map<String, Value>, key: &str, round: impl Fn(f64) -> f64) -> Option<i128> {
    let value = schema.get(key)?;
    let exact = value.as_i64().map(i128::from).or_else(|| value.as_u64().map(i128::from));
    exact.or_else(|| value.as_f64().map(|n| integral(round(n))))
}

/// The `nth` whole number in the bounds: 0, 1, ... where they allow.
pub(super) fn integer(schema: &Map<String, Value>, nth: u64) -> Option<Value> {
    let least = [
        bound(schema, "minimum", f64::ceil),
        // Above 1.5 begins at 2, above 1 also: the floor and one more.
        bound(schema, "exclusiveMinimum", f64::floor).map(|n| n + 1),
    ];
    let most = [bound(schema, "maximum", f64::floor), bound(schema, "exclusiveMaximum", f64::ceil).map(|n| n - 1)];
    let least = least.into_iter().flatten().max();
    let most = most.into_iter().flatten().min();
    let step = match bound(schema, "multipleOf", f64::ceil) {
        Some(step) if step > 0 => step,
        Some(_) => return None,
        None => 1,
    };
    // From 0 where the bounds allow it, else from the bound that is nearest to it.
    let downwards = most.is_some_and(|most| most < 0);
    let first =
        if downwards { most?.div_euclid(step) * step } else { -(-least.unwrap_or(0).max(0)).div_euclid(step) * step };
    let away = i128::from(nth) * step;
    let value = if downwards { first - away } else { first + away };
    let fits = |value: i128| least.is_none_or(|l| value >= l) && most.is_none_or(|m| value <= m);
    let value = if fits(value) { value } else { first };
    if !fits(value) {
        return None;
    }
    let number = i64::try_from(value).map(Number::from).or_else(|_| u64::try_from(value).map(Number::from));
    number.ok().map(Value::Number)
}

/// A number in the bounds: 0, 1, ... where they allow.
pub(super) fn number(schema: &Map<String, Value>, nth: u64) -> Option<Value> {
    let value = |key: &str| schema.get(key).and_then(Value::as_f64);
    if let Some(step) = value("multipleOf") {
        let first = value("minimum").or(value("exclusiveMinimum")).unwrap_or(0.0);
        let steps = (first / step).ceil() + if value("exclusiveMinimum").is_some() { 1.0 } else { 0.0 };
        return Number::from_f64(steps * step).map(Value::Number);
    }
    if let Some(whole) = integer(schema, nth) {
        return Some(whole);
    }
    let least = [value("minimum"), value("exclusiveMinimum")].into_iter().flatten().reduce(f64::max);
    let most = [value("maximum"), value("exclusiveMaximum")].into_iter().flatten().reduce(f64::min);
    let middle = match (least, most) {
        (Some(least), Some(most)) => f64::midpoint(least, most),
        (bound, None) | (None, bound) => bound?,
    };
    Number::from_f64(middle).map(Value::Number)
}

/// A text in its bounds; `notice` where it is free.
pub(super) fn string(schema: &Map<String, Value>, notice: &str, nth: u64) -> Option<String> {
    let length = |key: &str| schema.get(key).and_then(Value::as_f64).map(whole);
    let least = length("minLength").unwrap_or(0);
    let most = length("maxLength").unwrap_or(u64::MAX);
    if least > most.min(MAX_CHARS) {
        return None;
    }
    if let Some(pattern) = schema.get("pattern").and_then(Value::as_str) {
        return pattern::matching(pattern, least, most, nth);
    }
    if let Some(known) = schema.get("format").and_then(Value::as_str).and_then(|format| formatted(format, nth)) {
        return Some(known);
    }
    let mut out = if nth == 0 { notice.to_owned() } else { format!("{nth}. {notice}") };
    let missing = least.saturating_sub(text::chars(&out) as u64);
    out.extend(std::iter::repeat_n('.', usize::try_from(missing).ok()?));
    Some(out.chars().take(usize::try_from(most).unwrap_or(usize::MAX)).collect())
}

/// The formats that JSON schema names. Others say nothing about the text.
fn formatted(format: &str, nth: u64) -> Option<String> {
    let second = nth % 60;
    Some(match format {
        "date-time" => format!("2000-01-01T00:00:{second:02}Z"),
        "date" => format!("2000-01-{:02}", 1 + nth % 28),
        "time" => format!("00:00:{second:02}Z"),
        "partial-date-time" => format!("2000-01-01T00:00:{second:02}"),
        "duration" => format!("PT{nth}S"),
        "uuid" => format!("00000000-0000-7000-8000-{nth:012x}"),
        "email" | "idn-email" => format!("offline{nth}@example.invalid"),
        "hostname" | "idn-hostname" => format!("offline{nth}.invalid"),
        "ipv4" | "ip" => format!("192.0.2.{}", nth % 256),
        "ipv6" => format!("2001:db8::{:x}", nth % 0xffff),
        "uri" | "iri" | "url" | "uri-reference" | "iri-reference" | "uri-template" => {
            format!("https://example.invalid/offline/{nth}")
        }
        "json-pointer" => format!("/{nth}"),
        "relative-json-pointer" => format!("{nth}"),
        "regex" => format!("offline{nth}"),
        _ => return None,
    })
}
