//! `GET /api/v1/dead-letters/{id}`.

use axum::{Json, extract::State};
use base64::{Engine, prelude::BASE64_STANDARD};
use mesh_six_db::dead_letters::{self, Letter};
use mesh_six_runtime::{HttpError, ValidPath};
use serde::Serialize;

use super::{Api, sendable};

/// How the bytes are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Encoding {
    /// They are UTF-8 and stand as they are.
    Text,
    /// They are not.
    Base64,
}

/// A letter with its bytes.
#[derive(Clone, Debug, PartialEq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct LetterView {
    #[serde(flatten)]
    letter: Letter,
    /// The envelope exactly as it came, written as `encoding` says.
    envelope: String,
    encoding: Encoding,
    /// Why it cannot be replayed; null where it can.
    obstacle: Option<String>,
}

/// Shows a dead letter with the bytes as they came.
#[utoipa::path(
    get, path = "/api/v1/dead-letters/{id}", operation_id = "showDeadLetter", tag = "dead-letters",
    params(("id" = String, Path, description = "the letter's id, or its first 6 digits and more")),
    responses(
        (status = 200, body = LetterView),
        (status = 400, description = "the id is none", body = mesh_six_core::error::ErrorBody),
        (status = 404, description = "there is no such letter", body = mesh_six_core::error::ErrorBody),
        (status = 409, description = "more than one letter begins like this", body = mesh_six_core::error::ErrorBody),
        (status = 503, description = "the database is away; `Retry-After` says when to try again", body = mesh_six_core::error::ErrorBody),
    )
)]
pub(crate) async fn show(
    State(api): State<Api>,
    ValidPath(id): ValidPath<String>,
) -> Result<Json<LetterView>, HttpError> {
    let stored = dead_letters::get(&mut *api.db.conn().await?, &id).await?;
    let obstacle = sendable::check(&stored).err().map(|error| error.message);
    let (envelope, encoding) = match String::from_utf8(stored.envelope) {
        Ok(text) => (text, Encoding::Text),
        Err(error) => (BASE64_STANDARD.encode(error.as_bytes()), Encoding::Base64),
    };
    Ok(Json(LetterView { letter: stored.letter, envelope, encoding, obstacle }))
}
