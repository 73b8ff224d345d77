//! Which agent gets a task: who can, who is well, who did well (core.md §4).

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Instant,
};

use futures_util::future::join_all;
use mesh_six_core::{
    agent::AgentRegistration,
    scoring::{AgentScoreCard, ScoreInput, eligible, rank, score},
};
use mesh_six_db::{
    Database,
    history::{self, Record},
    tasks::Assignment,
};
use mesh_six_runtime::{Registry, RegistryError};

use crate::{config::OrchestratorConfig, metrics, probes::Probes};

/// Scores agents and chooses among them.
pub(crate) struct Routing {
    registry: Registry,
    db: Database,
    probes: Probes,
    config: OrchestratorConfig,
    chance: Mutex<fastrand::Rng>,
}

impl Routing {
    pub(crate) fn new(registry: Registry, db: Database, config: OrchestratorConfig) -> Self {
        let chance = config.seed.map_or_else(fastrand::Rng::new, fastrand::Rng::with_seed);
        Self { registry, db, probes: Probes::new(&config), config, chance: Mutex::new(chance) }
    }

    /// All agents that can do `capability` and are not offline, best first; those that are not eligible too.
    pub(crate) async fn scores(&self, capability: &str) -> Result<Vec<AgentScoreCard>, RegistryError> {
        let begun = Instant::now();
        let agents = self.registry.find_by_capability(capability).await?;
        if agents.is_empty() {
            return Ok(Vec::new());
        }
        let (healthy, records) = tokio::join!(self.health(&agents, capability), self.records(&agents, capability));
        let clean = Record::default();
        let mut cards = Vec::with_capacity(agents.len());
        for (agent, healthy) in agents.iter().zip(healthy) {
            let Some(found) = agent.capability(capability) else { continue };
            let record = records.get(&agent.app_id).unwrap_or(&clean);
            cards.push(score(&ScoreInput {
                agent_id: &agent.app_id,
                capability: found,
                status: agent.status,
                healthy,
                history: &record.recent,
                in_flight: record.in_flight,
            }));
        }
        rank(&mut cards);
        metrics::routed(begun.elapsed());
        Ok(cards)
    }

    async fn health(&self, agents: &[AgentRegistration], capability: &str) -> Vec<bool> {
        join_all(agents.iter().map(async |agent| match agent.capability(capability) {
            Some(found) => self.probes.all_well(agent, found).await,
            None => false,
        }))
        .await
    }

    /// Without the database every agent has a clean record: a task must not fail for want of its history.
    async fn records(&self, agents: &[AgentRegistration], capability: &str) -> HashMap<String, Record> {
        let ids: Vec<&str> = agents.iter().map(|agent| agent.app_id.as_str()).collect();
        let read = async {
            let mut conn = self.db.conn().await?;
            history::records(&mut conn, &ids, capability, self.config.history_max_age).await
        };
        read.await.unwrap_or_else(|error| {
            tracing::warn!(error = %error, "scoring without history");
            HashMap::new()
        })
    }

    /// The best eligible agent; now and then, for a task that can wait, the second best, so that an agent that
    /// lost its place can win it back.
    pub(crate) fn choose(&self, cards: &[AgentScoreCard], priority: i32) -> Option<Assignment> {
        let mut able = cards.iter().filter(|card| eligible(card));
        let (best, second) = (able.next()?, able.next());
        let chosen = second.filter(|_| self.explores(priority)).unwrap_or(best);
        Some(assignment(chosen, cards))
    }

    fn explores(&self, priority: i32) -> bool {
        priority <= self.config.exploration_max_priority
            && self.chance.lock().unwrap_or_else(PoisonError::into_inner).f64() < self.config.exploration
    }
}

/// The attempt goes to the agent of `card`.
pub(crate) fn assignment(card: &AgentScoreCard, cards: &[AgentScoreCard]) -> Assignment {
    Assignment { agent: card.agent_id.clone(), score: card.final_score, scores: cards.to_vec() }
}
