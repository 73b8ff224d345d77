//! Reading untrusted JSON: an error always names the field.

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::ApiError;

/// Rules that a type's fields must obey beyond their types.
pub trait Validate {
    /// Checks the value; the error names the first offending field.
    fn validate(&self) -> Result<(), ApiError>;
}

/// Parses and validates `bytes`.
pub fn parse_json<T: DeserializeOwned + Validate>(bytes: &[u8]) -> Result<T, ApiError> {
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let value: T = serde_path_to_error::deserialize(&mut reader).map_err(|e| named(&e))?;
    reader.end().map_err(|e| ApiError::validation("body", format!("malformed JSON: {e}")))?;
    value.validate()?;
    Ok(value)
}

/// Converts and validates a value that is already JSON.
pub fn parse_value<T: DeserializeOwned + Validate>(value: Value) -> Result<T, ApiError> {
    let value: T = serde_path_to_error::deserialize(value).map_err(|e| named(&e))?;
    value.validate()?;
    Ok(value)
}

/// Names the field of a serde error: the path where serde knows it, else the field that it quotes.
fn named(error: &serde_path_to_error::Error<serde_json::Error>) -> ApiError {
    let inner = error.inner();
    if inner.is_syntax() || inner.is_eof() {
        return ApiError::validation("body", format!("malformed JSON: {inner}"));
    }
    let message = inner.to_string();
    let path = error.path().to_string();
    // "missing field `x`" is reported at the object that lacks it.
    let quoted = message
        .strip_prefix("missing field `")
        .or_else(|| message.strip_prefix("unknown field `"))
        .and_then(|rest| rest.split('`').next());
    let field = match (path.as_str(), quoted) {
        (".", Some(name)) => name.to_owned(),
        (path, Some(name)) => format!("{path}.{name}"),
        (".", None) => "body".to_owned(),
        (path, None) => path.to_owned(),
    };
    ApiError::validation(field, message)
}
