//! Extractors for untrusted input: whatever is wrong is a 400 that names the field.

use axum::{
    body::to_bytes,
    extract::{
        FromRequest, FromRequestParts, Path, Query, RawPathParams, Request,
        path::ErrorKind,
        rejection::{PathRejection, QueryRejection},
    },
    http::request::Parts,
};
use mesh_six_core::{ApiError, Validate, in_words, names::MAX_BODY_BYTES, parse_json};
use serde::de::DeserializeOwned;

use super::{HttpError, layers};

/// A JSON body, parsed and validated. The content type is not looked at: many callers send none.
#[derive(Clone, Copy, Debug)]
pub struct ValidJson<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned + Validate> FromRequest<S> for ValidJson<T> {
    type Rejection = HttpError;

    async fn from_request(request: Request, _: &S) -> Result<Self, HttpError> {
        // Under the shell the body is in memory already; this bound holds where there is no shell.
        let bytes = to_bytes(request.into_body(), MAX_BODY_BYTES).await.map_err(|_| layers::too_large())?;
        if bytes.is_empty() {
            return Err(HttpError(ApiError::validation("body", "the body is empty, but must be a JSON object")));
        }
        Ok(Self(parse_json(&bytes)?))
    }
}

/// The query string, parsed and validated.
#[derive(Clone, Copy, Debug)]
pub struct ValidQuery<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned + Validate> FromRequestParts<S> for ValidQuery<T> {
    type Rejection = HttpError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, HttpError> {
        let Query(value) = Query::<T>::try_from_uri(&parts.uri).map_err(|e| query_error(&e))?;
        value.validate()?;
        Ok(Self(value))
    }
}

/// serde's path, which axum puts before the message, or the field that the message quotes.
fn query_error(rejection: &QueryRejection) -> ApiError {
    let text = rejection.body_text();
    let text = text.strip_prefix("Failed to deserialize query string: ").unwrap_or(&text);
    if let Some((path, message)) = text.split_once(": ")
        && !path.is_empty()
        && path.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.[]".contains(&b))
    {
        return ApiError::validation(path, in_words(message));
    }
    let field = text.split('`').nth(1).unwrap_or("query");
    ApiError::validation(field, in_words(text))
}

/// The parameters in the path, such as a task's id.
#[derive(Clone, Copy, Debug)]
pub struct ValidPath<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for ValidPath<T> {
    type Rejection = HttpError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, HttpError> {
        match Path::<T>::from_request_parts(parts, state).await {
            Ok(Path(value)) => Ok(Self(value)),
            Err(rejection) => {
                let names = RawPathParams::from_request_parts(parts, state).await;
                let first = names.as_ref().ok().and_then(|n| n.iter().next()).map_or("path", |(name, _)| name);
                Err(HttpError(path_error(&rejection, first)))
            }
        }
    }
}

fn path_error(rejection: &PathRejection, first: &str) -> ApiError {
    let PathRejection::FailedToDeserializePathParams(failed) = rejection else {
        return ApiError::unhandled(rejection.body_text());
    };
    let must_be = |value: &str, what: &str| format!("`{value}` is not a valid {what}");
    match failed.kind() {
        ErrorKind::ParseErrorAtKey { key, value, expected_type } => {
            ApiError::validation(key.clone(), must_be(value, expected_type))
        }
        ErrorKind::ParseError { value, expected_type } | ErrorKind::ParseErrorAtIndex { value, expected_type, .. } => {
            ApiError::validation(first, must_be(value, expected_type))
        }
        ErrorKind::DeserializeError { key, message, .. } => ApiError::validation(key.clone(), in_words(message)),
        ErrorKind::InvalidUtf8InPathParam { key } => ApiError::validation(key.clone(), "must be UTF-8"),
        other => ApiError::validation(first, other.to_string()),
    }
}
