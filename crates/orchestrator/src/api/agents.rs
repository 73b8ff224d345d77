//! `GET /api/v1/agents` and the score table.

use std::sync::Arc;

use axum::{Json, extract::State};
use mesh_six_core::{ApiError, agent::AgentRegistration, scoring::AgentScoreCard};
use mesh_six_runtime::{HttpError, ValidPath};
use serde::{Deserialize, Serialize};

use crate::engine::Engine;

/// The agents of the mesh.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AgentList {
    /// In the order in which they first registered, with their status as of now.
    pub agents: Vec<AgentRegistration>,
}

/// How the agents score for a capability.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Scores {
    /// What is asked for.
    pub capability: String,
    /// Best first; an agent whose dependency is down has 0 and gets no task.
    pub scores: Vec<AgentScoreCard>,
}

/// Lists the agents.
#[utoipa::path(
    get, path = "/api/v1/agents", tag = "agents",
    responses(
        (status = 200, body = AgentList),
        (status = 503, description = "the registry cannot be reached", body = mesh_six_core::error::ErrorBody),
    )
)]
pub(super) async fn list(State(engine): State<Arc<Engine>>) -> Result<Json<AgentList>, HttpError> {
    let agents = engine.registry.list_all().await.map_err(ApiError::from)?;
    Ok(Json(AgentList { agents }))
}

/// Scores the agents for a capability.
#[utoipa::path(
    get, path = "/api/v1/agents/score/{capability}", tag = "agents", params(("capability" = String, Path)),
    responses(
        (status = 200, body = Scores),
        (status = 503, description = "the registry cannot be reached", body = mesh_six_core::error::ErrorBody),
    )
)]
pub(super) async fn scores(
    State(engine): State<Arc<Engine>>,
    ValidPath(capability): ValidPath<String>,
) -> Result<Json<Scores>, HttpError> {
    let scores = engine.routing.scores(&capability).await.map_err(ApiError::from)?;
    Ok(Json(Scores { capability, scores }))
}
