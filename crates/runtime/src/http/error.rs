//! Errors as answers: `{"error": {type, message, field?, details?}}` with the status of the core's table.

use axum::{
    Json,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use mesh_six_core::{ApiError, ErrorType, error::ErrorBody};
use mesh_six_db::DbError;
use mesh_six_sidecar::SidecarError;

/// An error that a handler returns.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error(transparent)]
pub struct HttpError(pub ApiError);

impl HttpError {
    /// The answer with another status than the type's own, for the few that HTTP alone knows.
    pub(super) fn with_status(self, status: StatusCode) -> Response {
        let mut answer = self.into_response();
        *answer.status_mut() = status;
        answer
    }
}

impl IntoResponse for HttpError {
    fn into_response(self) -> Response {
        let kind = self.0.error_type;
        let status = StatusCode::from_u16(kind.http_status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        if kind == ErrorType::Unhandled {
            tracing::error!(error.message = self.0.message, "a request failed through a fault of ours");
        }
        let mut answer = (status, Json(ErrorBody { error: self.0 })).into_response();
        if status == StatusCode::SERVICE_UNAVAILABLE {
            answer.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        if status == StatusCode::UNAUTHORIZED {
            let challenge = HeaderValue::from_static(r#"Bearer realm="mesh-six""#);
            answer.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
        }
        answer
    }
}

impl From<ApiError> for HttpError {
    fn from(error: ApiError) -> Self {
        Self(error)
    }
}

impl From<DbError> for HttpError {
    /// What the server said is for the log; the caller learns only the kind.
    fn from(error: DbError) -> Self {
        match &error {
            DbError::Query(_) => {
                tracing::error!(error = &error as &dyn std::error::Error, "the database refused a query");
            }
            DbError::Unavailable(_) => {
                tracing::debug!(error = &error as &dyn std::error::Error, "a request met an absent database");
                return Self(ApiError::unavailable("the database is unavailable; try again shortly"));
            }
            DbError::Locked | DbError::Refused(_) => {}
        }
        Self(error.into())
    }
}

impl From<SidecarError> for HttpError {
    fn from(error: SidecarError) -> Self {
        Self(error.into())
    }
}
