//! The registry: which agents there are, what they can do, and whether they are well (core.md §3).
//!
//! Each agent owns its record and writes it whole with every heartbeat, so that a store that lost everything is
//! filled again within one interval. Records vanish by themselves when nobody renews them. The index is the one
//! thing that agents share, and is changed only against its `ETag`, so that agents that start together are all in it.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use ::metrics::counter;
use mesh_six_core::{
    ApiError, Validate,
    agent::{AgentRegistration, AgentStatus},
    names::{REGISTRY_INDEX, registry_key},
    parse_value, time,
};
use mesh_six_sidecar::{Condition, Sidecar, SidecarError, StateEntry};
use serde_json::Value;

use crate::metrics::REGISTRY_CONFLICTS;

/// How often an agent reports.
pub const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(30);
/// How long a record lives after its last heartbeat.
pub const RECORD_TTL: Duration = Duration::from_mins(3);

/// Of twenty agents that start together, one write succeeds each round, so the last needs about as many rounds.
const INDEX_TRIES: u32 = 40;
/// The longest pause between two tries.
const MAX_PAUSE_MS: u64 = 250;

/// Why the registry could not be read or changed.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// The record is not a valid one.
    #[error("the registration is not valid: {0}")]
    Invalid(ApiError),
    /// The state store failed.
    #[error("the registry cannot be reached")]
    Store(#[from] SidecarError),
    /// Others kept changing the same value.
    #[error("the registry is changed by too many at once")]
    Contended,
}

impl From<RegistryError> for ApiError {
    fn from(error: RegistryError) -> Self {
        match error {
            RegistryError::Invalid(error) => error,
            RegistryError::Store(error) => error.into(),
            RegistryError::Contended => Self::unavailable(error.to_string()),
        }
    }
}

/// The registry, seen through one sidecar.
#[derive(Clone)]
pub struct Registry {
    sidecar: Arc<dyn Sidecar>,
}

impl Registry {
    /// The registry in the state store behind `sidecar`.
    pub fn new(sidecar: Arc<dyn Sidecar>) -> Self {
        Self { sidecar }
    }

    /// Writes the agent's record as it is, with the heartbeat set to now, and puts the agent into the index.
    pub async fn register(&self, agent: &AgentRegistration) -> Result<(), RegistryError> {
        agent.validate().map_err(RegistryError::Invalid)?;
        let mut record = agent.clone();
        record.beat(time::now());
        self.save(&record, Condition::None).await?;
        self.change_index(|apps| {
            if !apps.contains(&agent.app_id) {
                apps.push(agent.app_id.clone());
            }
        })
        .await
    }

    /// Says that `agent` is alive, with the status that it gives itself. The same as [`Registry::register`]:
    /// a record or an index that was lost is there again afterwards.
    pub async fn heartbeat(&self, agent: &AgentRegistration) -> Result<(), RegistryError> {
        self.register(agent).await
    }

    /// The record of `app_id`, with its status as of now.
    pub async fn get(&self, app_id: &str) -> Result<Option<AgentRegistration>, RegistryError> {
        let entry = self.sidecar.get_state(&registry_key(app_id)).await?;
        Ok(entry.and_then(|entry| as_of_now(app_id, entry)))
    }

    /// All agents, in the order in which they first registered, with their status as of now.
    /// One whose record is gone, unreadable or not a valid one of its own is left out.
    pub async fn list_all(&self) -> Result<Vec<AgentRegistration>, RegistryError> {
        let (apps, _) = self.index().await?;
        if apps.is_empty() {
            return Ok(Vec::new());
        }
        let keys: Vec<String> = apps.iter().map(|app| registry_key(app)).collect();
        let entries = self.sidecar.get_state_bulk(&keys).await?;
        Ok(apps.iter().zip(entries).filter_map(|(app, entry)| as_of_now(app, entry?)).collect())
    }

    /// The agents that can do `capability` and are not offline.
    pub async fn find_by_capability(&self, capability: &str) -> Result<Vec<AgentRegistration>, RegistryError> {
        let mut agents = self.list_all().await?;
        agents.retain(|agent| agent.status != AgentStatus::Offline && agent.capability(capability).is_some());
        Ok(agents)
    }

    /// Marks `app_id` as offline, if there is a record; its last heartbeat stays as it was.
    pub async fn mark_offline(&self, app_id: &str) -> Result<(), RegistryError> {
        let key = registry_key(app_id);
        for attempt in 0..INDEX_TRIES {
            let Some(entry) = self.sidecar.get_state(&key).await? else { return Ok(()) };
            let Some(mut agent) = parse(app_id, entry.value) else { return Ok(()) };
            agent.status = AgentStatus::Offline;
            match self.save(&agent, Condition::Match(entry.etag)).await {
                Err(SidecarError::Conflict) => pause(attempt).await,
                result => return Ok(result?),
            }
        }
        Err(RegistryError::Contended)
    }

    /// Removes `app_id` from the registry.
    pub async fn deregister(&self, app_id: &str) -> Result<(), RegistryError> {
        self.sidecar.delete_state(&registry_key(app_id)).await?;
        self.change_index(|apps| apps.retain(|app| app != app_id)).await
    }

    async fn save(&self, agent: &AgentRegistration, condition: Condition) -> Result<(), SidecarError> {
        // Serialising plain data with text keys cannot fail; null would be an unreadable record, which readers skip.
        let value = serde_json::to_value(agent).unwrap_or_default();
        self.sidecar.set_state(&registry_key(&agent.app_id), value, condition, Some(RECORD_TTL)).await
    }

    /// The app-ids in the index, and the condition under which it may be written.
    async fn index(&self) -> Result<(Vec<String>, Condition), SidecarError> {
        let Some(StateEntry { value, etag }) = self.sidecar.get_state(REGISTRY_INDEX).await? else {
            return Ok((Vec::new(), Condition::Absent));
        };
        // What is no list of names is written anew by the next heartbeats.
        let mut apps: Vec<String> = serde_json::from_value(value).unwrap_or_else(|error| {
            tracing::warn!(error = &error as &dyn std::error::Error, "the registry's index is unreadable");
            Vec::new()
        });
        let mut seen = BTreeSet::new();
        apps.retain(|app| seen.insert(app.clone()));
        Ok((apps, Condition::Match(etag)))
    }

    /// Changes the index against its `ETag`, as often as it takes; writes nothing if nothing changes.
    async fn change_index(&self, change: impl Fn(&mut Vec<String>)) -> Result<(), RegistryError> {
        for attempt in 0..INDEX_TRIES {
            let (before, condition) = self.index().await?;
            let mut after = before.clone();
            change(&mut after);
            if after == before {
                return Ok(());
            }
            match self.sidecar.set_state(REGISTRY_INDEX, Value::from(after), condition, None).await {
                Err(SidecarError::Conflict) => {
                    counter!(REGISTRY_CONFLICTS.name).increment(1);
                    pause(attempt).await;
                }
                result => return Ok(result?),
            }
        }
        Err(RegistryError::Contended)
    }
}

/// Waits for a random time that grows, so that those who collided do not collide again.
async fn pause(attempt: u32) {
    let most = 5_u64.saturating_mul(1 << attempt.min(10)).min(MAX_PAUSE_MS);
    tokio::time::sleep(Duration::from_millis(fastrand::u64(1..=most))).await;
}

/// The record under `app_id`'s key, held to the rules it was registered by: whoever reaches the store can write
/// there, and a record decides who gets tasks and which addresses are asked.
fn parse(app_id: &str, value: Value) -> Option<AgentRegistration> {
    parse_value(value)
        .and_then(|agent: AgentRegistration| {
            if agent.app_id == app_id {
                return Ok(agent);
            }
            Err(ApiError::validation("appId", "the record of one agent is under the key of another"))
        })
        .inspect_err(|error| {
            let field = error.field.as_deref();
            let error: &dyn std::error::Error = error;
            tracing::warn!(agent.id = app_id, field, error, "a registry record is unreadable and left out");
        })
        .ok()
}

fn as_of_now(app_id: &str, entry: StateEntry) -> Option<AgentRegistration> {
    let mut agent = parse(app_id, entry.value)?;
    agent.status = agent.status_at(time::now());
    Some(agent)
}
