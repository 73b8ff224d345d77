//! Settings of the event logger.

use std::time::Duration;

use mesh_six_db::seals::{self, SealOptions};
use mesh_six_runtime::{ConfigError, Env, config::Variable, env::parsed};

/// The longest period; what is not sealed is not covered.
const MAX_PERIOD: u64 = 86_400;
/// The most rows of one seal; each keeps 20 bytes a row.
const MAX_ROWS: u32 = 100_000;

/// How the log is sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventLoggerConfig {
    /// `SEAL_EVERY_SECONDS`: the pause between two rounds of sealing.
    pub seal_every: Duration,
    /// `SEAL_MAX_ROWS`: rows that one seal covers at most.
    pub seal_max_rows: u32,
}

impl Default for EventLoggerConfig {
    fn default() -> Self {
        Self { seal_every: seals::EVERY, seal_max_rows: SealOptions::default().max_rows_per_seal }
    }
}

/// The variables that only the event logger reads.
pub const VARIABLES: [Variable; 2] = [
    Variable {
        name: "SEAL_EVERY_SECONDS",
        default: "60",
        meaning: "pause between two rounds of sealing the event log",
    },
    Variable {
        name: "SEAL_MAX_ROWS",
        default: "10000",
        meaning: "events that one seal covers at most; `verify` looks for a change within one seal",
    },
];

impl EventLoggerConfig {
    /// Reads the settings.
    pub fn from_env(env: &dyn Env) -> Result<Self, ConfigError> {
        let default = Self::default();
        let seconds = parsed(env, "SEAL_EVERY_SECONDS", default.seal_every.as_secs(), "a number of seconds")?;
        let seal_max_rows = parsed(env, "SEAL_MAX_ROWS", default.seal_max_rows, "a number of events")?;
        if !(1..=MAX_PERIOD).contains(&seconds) {
            let problem = format!("is `{seconds}`, but must be from 1 to {MAX_PERIOD}");
            return Err(ConfigError::new("SEAL_EVERY_SECONDS", problem));
        }
        if !(1..=MAX_ROWS).contains(&seal_max_rows) {
            let problem = format!("is `{seal_max_rows}`, but must be from 1 to {MAX_ROWS}");
            return Err(ConfigError::new("SEAL_MAX_ROWS", problem));
        }
        Ok(Self { seal_every: Duration::from_secs(seconds), seal_max_rows })
    }

    /// For the sealer.
    pub(crate) fn seal_options(self) -> SealOptions {
        SealOptions { max_rows_per_seal: self.seal_max_rows, ..SealOptions::default() }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test that cannot go on should fail there")]
mod tests {
    use mesh_six_runtime::MapEnv;

    use super::*;

    #[test]
    fn settings_are_read_and_refusals_name_the_variable() {
        let read = |pairs: &[(&str, &str)]| EventLoggerConfig::from_env(&MapEnv::new(pairs.iter().copied()));
        let defaults = read(&[]).unwrap();
        assert_eq!(defaults, EventLoggerConfig::default());
        assert_eq!(VARIABLES[0].default, defaults.seal_every.as_secs().to_string());
        assert_eq!(VARIABLES[1].default, defaults.seal_max_rows.to_string());
        let own = read(&[("SEAL_EVERY_SECONDS", "5"), ("SEAL_MAX_ROWS", "100")]).unwrap();
        assert_eq!((own.seal_every, own.seal_options().max_rows_per_seal), (Duration::from_secs(5), 100));
        for (name, value) in [
            ("SEAL_EVERY_SECONDS", "0"),
            ("SEAL_EVERY_SECONDS", "86401"),
            ("SEAL_EVERY_SECONDS", "often"),
            ("SEAL_MAX_ROWS", "0"),
            ("SEAL_MAX_ROWS", "100001"),
            ("SEAL_MAX_ROWS", "-1"),
        ] {
            assert_eq!(read(&[(name, value)]).unwrap_err().variable, name, "{value}");
        }
    }
}
