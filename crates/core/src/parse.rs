//! Reading untrusted JSON: an error always names the field.

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::{ApiError, text::shortened};

/// The longest field name in an error, in bytes.
const MAX_FIELD_BYTES: usize = 256;
/// The longest text of serde's in an error, in bytes.
const MAX_MESSAGE_BYTES: usize = 512;

/// Rules that a type's fields must obey beyond their types.
pub trait Validate {
    /// Checks the value; the error names the first offending field.
    fn validate(&self) -> Result<(), ApiError>;
}

/// Parses and validates `bytes`.
pub fn parse_json<T: DeserializeOwned + Validate>(bytes: &[u8]) -> Result<T, ApiError> {
    if bytes.trim_ascii_start().first() == Some(&b'[') {
        return Err(array());
    }
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let value: T = serde_path_to_error::deserialize(&mut reader).map_err(|e| named(&e))?;
    reader.end().map_err(|e| ApiError::validation("body", format!("malformed JSON: {}", malformed(&e))))?;
    value.validate()?;
    Ok(value)
}

/// Converts and validates a value that is already JSON.
pub fn parse_value<T: DeserializeOwned + Validate>(value: Value) -> Result<T, ApiError> {
    if value.is_array() {
        return Err(array());
    }
    let value: T = serde_path_to_error::deserialize(value).map_err(|e| named(&e))?;
    value.validate()?;
    Ok(value)
}

/// serde would take an array for a struct's fields in their order, whatever the caller meant by it.
fn array() -> ApiError {
    ApiError::validation("body", "an array, but must be a JSON object")
}

/// Names the field of a serde error: the path where serde knows it, else the field that it quotes.
/// Both name and message are bounded, since serde repeats what the caller sent.
fn named(error: &serde_path_to_error::Error<serde_json::Error>) -> ApiError {
    let inner = error.inner();
    let message = inner.to_string();
    // Numbers too large for any type are syntax errors to serde_json, but their field is known.
    let number = message.starts_with("number out of range");
    if inner.is_eof() || (inner.is_syntax() && !number) {
        return ApiError::validation("body", format!("malformed JSON: {}", malformed(inner)));
    }
    let path = error.path().to_string();
    // These are reported at the object, not at the member.
    let quoted = ["missing field `", "unknown field `", "duplicate field `"]
        .iter()
        .find_map(|prefix| message.strip_prefix(prefix))
        .and_then(|rest| rest.split('`').next());
    let field = match (path.as_str(), quoted) {
        (".", Some(name)) => name.to_owned(),
        // Of an unknown member serde may know the path itself.
        (path, Some(name)) if message.starts_with("unknown") && path.split('.').next_back() == Some(name) => {
            path.to_owned()
        }
        (path, Some(name)) => format!("{path}.{name}"),
        (".", None) => "body".to_owned(),
        (path, None) => path.to_owned(),
    };
    let message = in_words(&message);
    ApiError::validation(shortened(&field, MAX_FIELD_BYTES), shortened(&message, MAX_MESSAGE_BYTES))
}

/// What is wrong with JSON, and where.
pub fn malformed(error: &serde_json::Error) -> String {
    let told = error.to_string();
    let what = if error.is_eof() { "it ends too early" } else { without_place(&told) };
    format!("{what}, at line {}, column {}", error.line(), error.column())
}

/// serde's message about a field in a caller's words instead of Rust's: "invalid type: A, expected B" as "must be B,
/// not A". The place in the text goes, since the field is named beside it.
pub fn in_words(message: &str) -> String {
    let message = without_place(message);
    if message.starts_with("UUID parsing failed") {
        return "must be an id, such as 01a206f1-cc8b-7455-b34f-5bc9fe8106a1".to_owned();
    }
    if message.starts_with("missing field `") {
        return "is missing".to_owned();
    }
    if let Some((found, wanted)) = message.strip_prefix("unknown variant `").and_then(|m| m.rsplit_once("`, expected "))
    {
        return format!("must be {wanted}, not `{found}`");
    }
    let rest = ["invalid type: ", "invalid value: "].iter().find_map(|prefix| message.strip_prefix(prefix));
    // What the caller sent comes first and may hold anything.
    let Some((found, wanted)) = rest.and_then(|rest| rest.rsplit_once(", expected ")) else {
        return message.to_owned();
    };
    let wanted = match wanted {
        "i8" | "i16" | "i32" | "i64" | "isize" => "a whole number",
        "u8" | "u16" | "u32" | "u64" | "usize" => "a whole number from 0",
        "f32" | "f64" => "a number",
        "a boolean" => "true or false",
        "a map" => "a JSON object",
        "a sequence" => "an array",
        "a borrowed string" => "a string",
        of if of.starts_with("struct ") => "a JSON object",
        other => other,
    };
    let found = match found {
        "map" => "a JSON object",
        "sequence" => "an array",
        "null" => "null",
        other => other,
    };
    format!("must be {wanted}, not {found}")
}

/// `message` without the place that `serde_json` puts at its end.
fn without_place(message: &str) -> &str {
    let place = |rest: &str| {
        let (line, column) = rest.split_once(" column ")?;
        [line, column].iter().all(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit())).then_some(())
    };
    match message.rsplit_once(" at line ") {
        Some((told, rest)) if place(rest).is_some() => told,
        _ => message,
    }
}
