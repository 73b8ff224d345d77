//! Agents as the registry knows them (core.md §1 and §3).

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{ApiError, Validate, time};

/// Something an agent can do, and how well it thinks it can.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AgentCapability {
    /// The name that tasks ask for.
    pub name: String,
    /// How well suited the agent is, 0..1.
    pub weight: f64,
    /// Whether this agent is the preferred one for the capability.
    #[serde(default)]
    pub preferred: bool,
    /// Keys into the agent's `healthChecks` that must be healthy.
    #[serde(default)]
    pub requirements: Vec<String>,
    /// Whether tasks take long.
    #[serde(default, rename = "async", skip_serializing_if = "Option::is_none")]
    pub is_async: Option<bool>,
    /// Free text such as `1m-5m`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub estimated_duration: Option<String>,
    /// Platforms, such as github or gitea.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platforms: Option<Vec<String>>,
}

impl AgentCapability {
    /// A capability without requirements.
    pub fn new(name: impl Into<String>, weight: f64) -> Self {
        Self {
            name: name.into(),
            weight,
            preferred: false,
            requirements: Vec::new(),
            is_async: None,
            estimated_duration: None,
            platforms: None,
        }
    }
}

/// An agent's capabilities, its health checks and the requirements of one capability: at most this many of each. Each
/// is looked at, or asked over the network, for every task.
pub const MAX_LISTED: usize = 32;

fn check_length(field: &str, length: usize) -> Result<(), ApiError> {
    if length > MAX_LISTED {
        return Err(ApiError::validation(field, format!("{length} of them, but at most {MAX_LISTED} are taken")));
    }
    Ok(())
}

impl Validate for AgentCapability {
    fn validate(&self) -> Result<(), ApiError> {
        if self.name.is_empty() || self.name.len() > 128 {
            return Err(ApiError::validation("name", "a capability's name has 1 to 128 characters"));
        }
        if !(0.0..=1.0).contains(&self.weight) {
            return Err(ApiError::validation("weight", format!("weight is {}, but must be from 0 to 1", self.weight)));
        }
        check_length("requirements", self.requirements.len())
    }
}

/// Whether an agent can be given work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum AgentStatus {
    /// Well.
    Online,
    /// Reachable, but something it depends on is down, or its heartbeat is late.
    Degraded,
    /// Not to be given work.
    Offline,
}

/// An agent's entry in the registry.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AgentRegistration {
    /// The name shown to people.
    pub name: String,
    /// The Dapr app-id.
    pub app_id: String,
    /// What it can do.
    pub capabilities: Vec<AgentCapability>,
    /// As the agent reported it; readers use [`AgentRegistration::status_at`].
    pub status: AgentStatus,
    /// URLs to probe, by requirement.
    #[serde(default)]
    pub health_checks: BTreeMap<String, String>,
    /// When the agent last reported. Text, since a broken one must count as offline, not fail the reader.
    pub last_heartbeat: String,
    /// Anything else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Value>,
}

/// A heartbeat older than this makes an agent degraded, in milliseconds.
pub const DEGRADED_AFTER_MS: i64 = 60_000;
/// A heartbeat older than this makes an agent offline, in milliseconds.
pub const OFFLINE_AFTER_MS: i64 = 120_000;

impl AgentRegistration {
    /// The status at `now`: what the agent reported, made worse by the age of its heartbeat.
    /// Exactly 60 s or 120 s old is still the better state; an unreadable heartbeat is offline.
    pub fn status_at(&self, now: DateTime<Utc>) -> AgentStatus {
        let Ok(last) = self.last_heartbeat.parse::<DateTime<Utc>>() else {
            return AgentStatus::Offline;
        };
        let age = (now - last).num_milliseconds();
        match self.status {
            AgentStatus::Offline => AgentStatus::Offline,
            _ if age > OFFLINE_AFTER_MS => AgentStatus::Offline,
            AgentStatus::Online if age > DEGRADED_AFTER_MS => AgentStatus::Degraded,
            reported => reported,
        }
    }

    /// The first capability called `name`.
    pub fn capability(&self, name: &str) -> Option<&AgentCapability> {
        self.capabilities.iter().find(|c| c.name == name)
    }

    /// Sets the heartbeat to `now`.
    pub fn beat(&mut self, now: DateTime<Utc>) {
        self.last_heartbeat = time::format(now);
    }
}

impl Validate for AgentRegistration {
    fn validate(&self) -> Result<(), ApiError> {
        if self.app_id.is_empty() || self.app_id.len() > 128 {
            return Err(ApiError::validation("appId", "an app-id has 1 to 128 characters"));
        }
        check_length("capabilities", self.capabilities.len())?;
        check_length("healthChecks", self.health_checks.len())?;
        for (i, c) in self.capabilities.iter().enumerate() {
            c.validate().map_err(|mut e| {
                e.field = Some(format!("capabilities[{i}].{}", e.field.as_deref().unwrap_or("")));
                e
            })?;
        }
        Ok(())
    }
}
