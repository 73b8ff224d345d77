//! `POST /api/v1/dead-letters/replay` and `/discard`.

use axum::{Json, extract::State};
use mesh_six_core::{ApiError, Validate, metric::Metric};
use mesh_six_db::{
    Conn, DbError, DbResult,
    dead_letters::{self, Letter},
};
use mesh_six_runtime::{HttpError, ValidJson};
use serde::{Deserialize, Serialize};

use super::{Api, sendable};

pub(crate) const DECIDED: Metric = Metric::counter(
    "mesh_six_dead_letters_decided_total",
    &["decision"],
    "Dead letters that somebody had sent again or discarded (`replayed`, `discarded`)",
);

/// Most letters that one request decides about.
const MAX_IDS: usize = 100;

/// Which letters to send again.
#[derive(Clone, Debug, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct ReplayBody {
    /// 1 to 100 ids of letters, or their beginnings.
    #[schema(min_items = 1, max_items = 100)]
    ids: Vec<String>,
    /// Also those that were replayed already, since a broker may have lost them.
    #[serde(default)]
    again: bool,
}

/// Which letters nobody wants any more.
#[derive(Clone, Debug, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct DiscardBody {
    /// 1 to 100 ids of letters, or their beginnings.
    #[schema(min_items = 1, max_items = 100)]
    ids: Vec<String>,
}

impl Validate for ReplayBody {
    fn validate(&self) -> Result<(), ApiError> {
        check_ids(&self.ids)
    }
}

impl Validate for DiscardBody {
    fn validate(&self) -> Result<(), ApiError> {
        check_ids(&self.ids)
    }
}

fn check_ids(ids: &[String]) -> Result<(), ApiError> {
    if !(1..=MAX_IDS).contains(&ids.len()) {
        return Err(ApiError::validation("ids", format!("1 to {MAX_IDS} ids are wanted, not {}", ids.len())));
    }
    ids.iter().enumerate().try_for_each(|(n, id)| dead_letters::check_id(&format!("ids[{n}]"), id))
}

/// What became of one letter: one of the two.
#[derive(Clone, Debug, PartialEq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Decision {
    /// As it was asked for.
    id: String,
    /// The letter as it is now.
    #[serde(skip_serializing_if = "Option::is_none")]
    letter: Option<Letter>,
    /// Why nothing was done with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<ApiError>,
}

/// What became of the letters, in the order asked for.
#[derive(Clone, Debug, PartialEq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Decisions {
    decisions: Vec<Decision>,
}

/// Sends the messages of dead letters again, each as the event that it was, to the topic that it came from. Every
/// subscriber of the topic gets it and knows what it had; a message that fails again waits again. Each letter is
/// decided for itself: those that cannot be sent are told with the reason.
#[utoipa::path(
    post, path = "/api/v1/dead-letters/replay", operation_id = "replayDeadLetters", tag = "dead-letters",
    request_body = ReplayBody,
    responses(
        (status = 200, body = Decisions),
        (status = 400, description = "a field is wrong; `field` names it", body = mesh_six_core::error::ErrorBody),
        (status = 503, description = "the database is away; what was decided before stays", body = mesh_six_core::error::ErrorBody),
    )
)]
pub(crate) async fn replay(
    State(api): State<Api>,
    ValidJson(body): ValidJson<ReplayBody>,
) -> Result<Json<Decisions>, HttpError> {
    decide(&api, body.ids, Wish::Replay { again: body.again }).await
}

/// Marks dead letters as not wanted any more. Their bytes stay: by its id a discarded letter can still be replayed.
#[utoipa::path(
    post, path = "/api/v1/dead-letters/discard", operation_id = "discardDeadLetters", tag = "dead-letters",
    request_body = DiscardBody,
    responses(
        (status = 200, body = Decisions),
        (status = 400, description = "a field is wrong; `field` names it", body = mesh_six_core::error::ErrorBody),
        (status = 503, description = "the database is away; what was decided before stays", body = mesh_six_core::error::ErrorBody),
    )
)]
pub(crate) async fn discard(
    State(api): State<Api>,
    ValidJson(body): ValidJson<DiscardBody>,
) -> Result<Json<Decisions>, HttpError> {
    decide(&api, body.ids, Wish::Discard).await
}

/// What is to become of letters.
#[derive(Clone, Copy)]
enum Wish {
    Replay { again: bool },
    Discard,
}

impl Wish {
    async fn fulfil(self, conn: &mut Conn, id: &str) -> DbResult<Letter> {
        match self {
            Self::Replay { again } => dead_letters::replay(conn, id, again, sendable::check).await,
            Self::Discard => dead_letters::discard(conn, id).await,
        }
    }
}

/// Decides about one letter after the other, each in a transaction of its own, so that only one's bytes are in memory.
async fn decide(api: &Api, ids: Vec<String>, wish: Wish) -> Result<Json<Decisions>, HttpError> {
    let mut decisions = Vec::with_capacity(ids.len());
    for id in ids {
        let mut conn = api.db.conn().await?;
        decisions.push(match wish.fulfil(&mut conn, &id).await {
            Ok(letter) => {
                let what = letter.state.as_str();
                metrics::counter!(DECIDED.name, "decision" => what).increment(1);
                let (topic, app) = (&letter.topic, &letter.app_id);
                tracing::info!(
                    letter.id = letter.id,
                    messaging.topic = topic,
                    app.id = app,
                    "a dead letter was {what}"
                );
                Decision { id, letter: Some(letter), error: None }
            }
            Err(DbError::Refused(refusal)) => Decision { id, letter: None, error: Some(refusal) },
            Err(error) => return Err(error.into()),
        });
    }
    Ok(Json(Decisions { decisions }))
}
