//! Which agent is best for a capability (core.md §4). Pure: health and history are given.

use serde::{Deserialize, Serialize, Serializer};

use crate::agent::{AgentCapability, AgentStatus};

/// Rows of history that count.
pub const WINDOW: usize = 20;
/// The weight of a row, relative to the next newer one.
pub const DECAY: f64 = 0.95;
/// The factor after three successes in a row.
pub const RECENCY_BOOST: f64 = 1.1;
/// The factor of a preferred agent.
pub const PREFERRED_FACTOR: f64 = 1.05;
/// The factor of a degraded agent, so that it loses to an online one at equal score.
pub const DEGRADED_FACTOR: f64 = 0.9;
/// The rate never falls below this, so that an agent that only failed can come back.
pub const RATE_FLOOR: f64 = 0.05;

/// An agent's score for one capability, with its parts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AgentScoreCard {
    /// The agent's app-id.
    pub agent_id: String,
    /// The capability.
    pub capability: String,
    /// The agent's own weight, 0..1.
    #[serde(serialize_with = "rounded")]
    pub base_weight: f64,
    /// 1 if every required dependency is healthy, else 0; an agent with 0 is not eligible.
    pub dependency_health: f64,
    /// Weighted success rate of the newest attempts, 0.05..1.
    #[serde(serialize_with = "rounded")]
    pub rolling_success_rate: f64,
    /// 1.1 after three successes in a row, else 1.
    pub recency_boost: f64,
    /// The product of the parts.
    #[serde(serialize_with = "rounded")]
    pub final_score: f64,
    /// Whether the agent is the preferred one.
    pub preferred: bool,
    /// Online or degraded.
    pub status: AgentStatus,
    /// Attempts it works on now.
    pub in_flight: i64,
}

/// Digits after the point that a score is shown with.
const SHOWN: f64 = 1e6;

/// Writes a score as people read it: 0.88 and not 0.8800000000000001. Agents are compared by the exact one.
pub fn rounded<S: Serializer>(score: &f64, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_f64((score * SHOWN).round() / SHOWN)
}

/// As [`rounded`], of a score that may be missing.
pub fn rounded_option<S: Serializer>(score: &Option<f64>, to: S) -> Result<S::Ok, S::Error> {
    match score {
        Some(score) => rounded(score, to),
        None => to.serialize_none(),
    }
}

/// What the score of one agent depends on.
#[derive(Clone, Debug)]
pub struct ScoreInput<'a> {
    /// The agent's app-id.
    pub agent_id: &'a str,
    /// The capability, as the agent registered it.
    pub capability: &'a AgentCapability,
    /// Online or degraded.
    pub status: AgentStatus,
    /// Whether every required dependency is healthy.
    pub healthy: bool,
    /// Success of the newest attempts, newest first.
    pub history: &'a [bool],
    /// Attempts it works on now.
    pub in_flight: i64,
}

/// Σ `0.95^i · success_i` / Σ `0.95^i` over the newest 20 rows, newest first; 1 without history;
/// at least 0.05 ([`RATE_FLOOR`]).
pub fn rolling_success_rate(history: &[bool]) -> f64 {
    let (mut sum, mut total, mut weight) = (0.0, 0.0, 1.0);
    for success in history.iter().take(WINDOW) {
        total += weight;
        if *success {
            sum += weight;
        }
        weight *= DECAY;
    }
    if total == 0.0 { 1.0 } else { (sum / total).max(RATE_FLOOR) }
}

/// 1.1 if the newest three attempts all succeeded, else 1.
pub fn recency_boost(history: &[bool]) -> f64 {
    match history {
        [true, true, true, ..] => RECENCY_BOOST,
        _ => 1.0,
    }
}

/// The score card of one agent.
pub fn score(input: &ScoreInput<'_>) -> AgentScoreCard {
    let capability = input.capability;
    let dependency_health = if input.healthy { 1.0 } else { 0.0 };
    let rolling_success_rate = rolling_success_rate(input.history);
    let recency_boost = recency_boost(input.history);
    let preferred = if capability.preferred { PREFERRED_FACTOR } else { 1.0 };
    let status = if input.status == AgentStatus::Degraded { DEGRADED_FACTOR } else { 1.0 };
    AgentScoreCard {
        agent_id: input.agent_id.to_owned(),
        capability: capability.name.clone(),
        base_weight: capability.weight,
        dependency_health,
        rolling_success_rate,
        recency_boost,
        final_score: capability.weight * dependency_health * rolling_success_rate * recency_boost * preferred * status,
        preferred: capability.preferred,
        status: input.status,
        in_flight: input.in_flight,
    }
}

/// Best first. Ties: preferred first, then fewer attempts in flight, then the name.
pub fn rank(cards: &mut [AgentScoreCard]) {
    cards.sort_by(|a, b| {
        b.final_score
            .total_cmp(&a.final_score)
            .then(b.preferred.cmp(&a.preferred))
            .then(a.in_flight.cmp(&b.in_flight))
            .then_with(|| a.agent_id.cmp(&b.agent_id))
    });
}

/// Whether the agent may be given work: a dead dependency excludes it, a bad record does not.
pub fn eligible(card: &AgentScoreCard) -> bool {
    card.dependency_health > 0.0 && card.status != AgentStatus::Offline && card.final_score > 0.0
}
