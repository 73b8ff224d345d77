//! `GET /api/v1/agents/{agentId}/history`.

use std::sync::Arc;

use axum::{Json, extract::State};
use mesh_six_core::{ApiError, Validate};
use mesh_six_db::history::{self, Ended};
use mesh_six_runtime::{HttpError, ValidPath, ValidQuery};
use serde::{Deserialize, Serialize};

use crate::engine::Engine;

/// Most attempts in an answer.
const MAX_LIMIT: i64 = 200;

/// How many.
#[derive(Clone, Copy, Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct HistoryQuery {
    /// Attempts in the answer, 1 to 200.
    #[serde(default = "usual_limit")]
    #[param(minimum = 1, maximum = 200, default = 20)]
    limit: i64,
}

const fn usual_limit() -> i64 {
    20
}

impl Validate for HistoryQuery {
    fn validate(&self) -> Result<(), ApiError> {
        if (1..=MAX_LIMIT).contains(&self.limit) {
            return Ok(());
        }
        let message = format!("limit is {}, but must be from 1 to {MAX_LIMIT}", self.limit);
        Err(ApiError::validation("limit", message))
    }
}

/// How an agent's attempts ended.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct History {
    /// The agent.
    agent_id: String,
    /// Newest first; empty for an agent that has ended none.
    history: Vec<Ended>,
}

/// Shows how an agent's newest attempts ended, which is what its score comes from.
#[utoipa::path(
    get, path = "/api/v1/agents/{agentId}/history", tag = "agents",
    params(("agentId" = String, Path), HistoryQuery),
    responses(
        (status = 200, body = History),
        (status = 400, description = "the limit or the name is wrong; `field` names it", body = mesh_six_core::error::ErrorBody),
        (status = 503, description = "the database is away; `Retry-After` says when to try again", body = mesh_six_core::error::ErrorBody),
    )
)]
pub(super) async fn history(
    State(engine): State<Arc<Engine>>,
    ValidPath(agent_id): ValidPath<String>,
    ValidQuery(query): ValidQuery<HistoryQuery>,
) -> Result<Json<History>, HttpError> {
    if agent_id.contains('\0') {
        return Err(ApiError::validation("agentId", "must not contain U+0000").into());
    }
    let history = history::of_agent(&mut *engine.db.conn().await?, &agent_id, query.limit).await?;
    Ok(Json(History { agent_id, history }))
}
