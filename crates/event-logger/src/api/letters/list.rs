//! `GET /api/v1/dead-letters`.

use axum::{Json, extract::State};
use chrono::{DateTime, Utc};
use mesh_six_core::{ApiError, Validate, time};
use mesh_six_db::dead_letters::{self, Letter, LetterCursor, LetterFilter, LetterState};
use mesh_six_runtime::{HttpError, ValidQuery};
use serde::{Deserialize, Serialize};

use super::Api;

/// Most letters on a page.
const MAX_LIMIT: i64 = 200;

/// Which letters.
#[derive(Clone, Debug, Deserialize, utoipa::IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct LettersQuery {
    /// Only those in this state.
    state: Option<LetterState>,
    /// Only those sent to this topic.
    topic: Option<String>,
    /// Only those that failed in a subscription of this app.
    app_id: Option<String>,
    /// Only those that failed last at or after.
    #[serde(with = "time::micros_option", default)]
    since: Option<DateTime<Utc>>,
    /// Letters on the page, 1 to 200.
    #[serde(default = "usual_limit")]
    #[param(minimum = 1, maximum = 200, default = 50)]
    limit: i64,
    /// `next` of the page before.
    after: Option<String>,
}

const fn usual_limit() -> i64 {
    50
}

impl Validate for LettersQuery {
    fn validate(&self) -> Result<(), ApiError> {
        if !(1..=MAX_LIMIT).contains(&self.limit) {
            let message = format!("limit is {}, but must be from 1 to {MAX_LIMIT}", self.limit);
            return Err(ApiError::validation("limit", message));
        }
        for (field, text) in [("topic", &self.topic), ("appId", &self.app_id)] {
            if text.as_ref().is_some_and(|t| t.len() > 512 || t.contains('\0')) {
                return Err(ApiError::validation(field, "at most 512 bytes without U+0000"));
            }
        }
        Ok(())
    }
}

/// A page of letters.
#[derive(Clone, Debug, PartialEq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct LetterPage {
    /// The newest failure first, without their bytes.
    letters: Vec<Letter>,
    /// `after` this is the next page; null at the end.
    next: Option<String>,
}

/// Lists dead letters: messages that failed for good, the newest failure first.
#[utoipa::path(
    get, path = "/api/v1/dead-letters", operation_id = "listDeadLetters", tag = "dead-letters", params(LettersQuery),
    responses(
        (status = 200, body = LetterPage),
        (status = 400, description = "a condition is wrong; `field` names it", body = mesh_six_core::error::ErrorBody),
        (status = 503, description = "the database is away; `Retry-After` says when to try again", body = mesh_six_core::error::ErrorBody),
    )
)]
pub(crate) async fn list(
    State(api): State<Api>,
    ValidQuery(query): ValidQuery<LettersQuery>,
) -> Result<Json<LetterPage>, HttpError> {
    let filter = LetterFilter {
        state: query.state,
        topic: query.topic,
        app_id: query.app_id,
        since: query.since,
        after: query.after.as_deref().map(str::parse).transpose()?,
        // One more than asked for tells whether there is a next page.
        limit: query.limit + 1,
    };
    let mut letters = dead_letters::list(&mut *api.db.conn().await?, &filter).await?;
    let limit = usize::try_from(query.limit).unwrap_or(usize::MAX);
    let more = letters.len() > limit;
    letters.truncate(limit);
    let next = letters.last().filter(|_| more).map(|letter| LetterCursor::after(letter).to_string());
    Ok(Json(LetterPage { letters, next }))
}
