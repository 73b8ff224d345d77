//! The orchestrator's settings.

use std::time::Duration;

use mesh_six_runtime::{
    ConfigError, Env,
    config::Variable,
    env::{parsed, switch},
};

/// Settings; the defaults are those of the mesh, tests shorten them.
#[derive(Clone, Debug)]
pub struct OrchestratorConfig {
    /// What the sidecar must show to deliver.
    pub app_token: Option<String>,
    /// How old an attempt may be that still counts for an agent's score.
    pub history_max_age: Duration,
    /// Share of unurgent tasks that the second best agent gets, so that one that failed can come back; 0 to 1.
    pub exploration: f64,
    /// The highest priority of a task that may be used for that.
    pub exploration_max_priority: i32,
    /// Seed of that choice; `None`: a different one each time.
    pub seed: Option<u64>,
    /// Hosts that may be probed beside the agents' own.
    pub probe_hosts: Vec<String>,
    /// Whether this machine may be probed: for meshes on one machine.
    pub probe_loopback: bool,
    /// How long a probe may take.
    pub probe_timeout: Duration,
    /// How long its answer holds.
    pub probe_cache: Duration,
    /// Pauses before the second and the third attempt where all agents were tried already.
    pub back_off: [Duration; 2],
    /// How long a task waits for an agent after an attempt when there is none that could take it; also how long
    /// after a start, since agents register anew then.
    pub patience: Duration,
    /// How long after it was sent a request is sent again that is not in its agent's inbox.
    pub resend_after: Duration,
    /// Between two looks for results whose message was lost, and for dead processes.
    pub sweep: Duration,
    /// Between two looks for messages that another process left.
    pub poll: Duration,
    /// The lease that agents have on what they work on.
    pub agent_lease: Duration,
    /// The lease on tasks and messages that this process claims.
    pub lease: Duration,
    /// How long one publish may take; below the lease.
    pub publish_timeout: Duration,
    /// Callers that are woken when their task ends; further ones are told when it is next looked up.
    pub max_waiting: usize,
}

impl Default for OrchestratorConfig {
    fn default() -> Self {
        Self {
            app_token: None,
            history_max_age: Duration::from_hours(24),
            exploration: 0.05,
            exploration_max_priority: 3,
            seed: None,
            probe_hosts: Vec::new(),
            probe_loopback: false,
            probe_timeout: Duration::from_secs(3),
            probe_cache: Duration::from_secs(10),
            back_off: [Duration::from_secs(2), Duration::from_secs(8)],
            patience: Duration::from_secs(30),
            resend_after: Duration::from_secs(5),
            sweep: Duration::from_secs(2),
            poll: Duration::from_millis(250),
            agent_lease: Duration::from_secs(15),
            lease: Duration::from_secs(15),
            publish_timeout: Duration::from_secs(10),
            max_waiting: 1_000,
        }
    }
}

/// The variables that only the orchestrator reads.
pub const VARIABLES: [Variable; 4] = [
    Variable {
        name: "HISTORY_MAX_AGE_HOURS",
        default: "24",
        meaning: "attempts older than this no longer count for an agent's score",
    },
    Variable {
        name: "EXPLORATION",
        default: "0.05",
        meaning: "share of tasks of priority 0 to 3 that the second best agent gets, 0 to 1",
    },
    Variable {
        name: "PROBE_HOSTS",
        default: "",
        meaning: "hosts, separated by commas, that agents' health checks may name beside the agents' own",
    },
    Variable { name: "PROBE_LOOPBACK", default: "false", meaning: "true: health checks may name this machine" },
];

impl OrchestratorConfig {
    /// Reads the settings. `app_token` is what the sidecar must show to deliver.
    pub fn from_env(env: &dyn Env, app_token: Option<String>) -> Result<Self, ConfigError> {
        let hours: u32 = parsed(env, "HISTORY_MAX_AGE_HOURS", 24, "a number of hours")?;
        let exploration: f64 = parsed(env, "EXPLORATION", 0.05, "a number from 0 to 1")?;
        if !(0.0..=1.0).contains(&exploration) {
            let problem = format!("is `{exploration}`, but must be a number from 0 to 1");
            return Err(ConfigError::new("EXPLORATION", problem));
        }
        let hosts = env.get("PROBE_HOSTS").unwrap_or_default();
        let hosts = hosts.split(',').map(|h| h.trim().to_ascii_lowercase()).filter(|h| !h.is_empty()).collect();
        Ok(Self {
            app_token,
            history_max_age: Duration::from_hours(u64::from(hours)),
            exploration,
            probe_hosts: hosts,
            probe_loopback: switch(env, "PROBE_LOOPBACK", false)?,
            ..Self::default()
        })
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used)]

    use mesh_six_runtime::MapEnv;

    use super::*;

    #[test]
    fn settings_are_read_and_refusals_name_the_variable() {
        let read = |pairs: &[(&str, &str)]| OrchestratorConfig::from_env(&MapEnv::new(pairs.iter().copied()), None);
        let config = read(&[("PROBE_HOSTS", "Argocd-Server, ,grafana"), ("HISTORY_MAX_AGE_HOURS", "1")]).unwrap();
        assert_eq!(config.probe_hosts, ["argocd-server", "grafana"]);
        assert_eq!(config.history_max_age, Duration::from_hours(1));
        for (name, value) in [("EXPLORATION", "1.5"), ("HISTORY_MAX_AGE_HOURS", "-1"), ("PROBE_LOOPBACK", "maybe")] {
            assert_eq!(read(&[(name, value)]).unwrap_err().variable, name);
        }
    }
}
