//! How an agent's service runs.

use std::time::Duration;

use crate::{
    config::{CommonConfig, DEFAULT_DRAIN},
    registry::HEARTBEAT_INTERVAL,
};

use super::AgentDefinition;

/// Settings of an agent's service; the defaults are those of the mesh, tests shorten them.
#[derive(Clone, Debug)]
pub struct AgentConfig {
    /// App-id, if not the definition's.
    pub agent_id: Option<String>,
    /// Name shown to people, if not the definition's.
    pub agent_name: Option<String>,
    /// What the sidecar must show to deliver.
    pub app_token: Option<String>,
    /// Whether prompts and answers are kept beside the log.
    pub capture_content: bool,
    /// Between two reports to the registry.
    pub heartbeat: Duration,
    /// Between two looks at what the agent depends on.
    pub dependencies: Duration,
    /// How long a claimed request stays claimed without a sign of life; renewed three times as often.
    pub lease: Duration,
    /// How often the inbox is looked at for what other replicas accepted.
    pub poll: Duration,
    /// How long requests in flight may go on after the end was asked for. What is left then is given up, in at
    /// most 6 s more.
    pub grace: Duration,
}

impl Default for AgentConfig {
    fn default() -> Self {
        Self {
            agent_id: None,
            agent_name: None,
            app_token: None,
            capture_content: false,
            heartbeat: HEARTBEAT_INTERVAL,
            dependencies: Duration::from_secs(10),
            lease: Duration::from_secs(15),
            poll: Duration::from_millis(250),
            grace: DEFAULT_DRAIN,
        }
    }
}

impl AgentConfig {
    /// Identity and token from the environment's settings.
    pub fn from_common(common: &CommonConfig, capture_content: bool) -> Self {
        Self {
            agent_id: Some(common.agent_id.clone()),
            agent_name: common.agent_name.clone(),
            app_token: common.app_api_token.as_ref().map(|token| token.expose().to_owned()),
            capture_content,
            grace: common.drain,
            ..Self::default()
        }
    }

    /// `definition` under the configured identity.
    pub(super) fn apply(&self, mut definition: AgentDefinition) -> AgentDefinition {
        if let Some(id) = &self.agent_id {
            definition.app_id.clone_from(id);
        }
        if let Some(name) = &self.agent_name {
            definition.name.clone_from(name);
        }
        definition
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test that cannot go on must fail")]

    use super::*;
    use crate::env::MapEnv;

    #[test]
    fn the_environment_gives_another_identity() {
        let definition = AgentDefinition::new("simple-agent", "Simple Agent", Vec::new());
        let read = |pairs: &[(&str, &str)]| {
            let common = CommonConfig::from_env(&MapEnv::new(pairs.iter().copied()), "simple-agent").unwrap();
            AgentConfig::from_common(&common, false).apply(definition.clone())
        };
        assert_eq!(read(&[]), definition);
        let other = read(&[("AGENT_ID", "second"), ("AGENT_NAME", "The Second")]);
        assert_eq!((other.app_id.as_str(), other.name.as_str()), ("second", "The Second"));
    }

    #[test]
    fn a_pod_may_be_given_longer_to_drain() {
        let read = |pairs: &[(&str, &str)]| {
            let common = CommonConfig::from_env(&MapEnv::new(pairs.iter().copied()), "simple-agent");
            common.map(|common| AgentConfig::from_common(&common, false).grace).map_err(|e| e.to_string())
        };
        assert_eq!(read(&[]), Ok(Duration::from_secs(20)));
        assert_eq!(read(&[("DRAIN_SECONDS", "135")]), Ok(Duration::from_secs(135)));
        for wrong in ["-1", "901", "2m"] {
            assert!(read(&[("DRAIN_SECONDS", wrong)]).is_err_and(|e| e.contains("DRAIN_SECONDS")), "{wrong}");
        }
    }
}
