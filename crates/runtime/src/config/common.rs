//! What every service reads from its environment.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use crate::{
    env::{ConfigError, Env, parsed, switch},
    secret::Secret,
    telemetry::TelemetryConfig,
};

/// How long an agent's requests in flight may go on after SIGTERM, where `DRAIN_SECONDS` says nothing.
pub const DEFAULT_DRAIN: Duration = Duration::from_secs(20);
/// The longest that it may be: as long as an attempt may take.
const MAX_DRAIN_SECONDS: u64 = 900;
const DRAIN_WANTED: &str = "a whole number of seconds from 0 to 900";

/// Where the database is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DatabaseUrls {
    /// `DATABASE_URL`, else `PG_PRIMARY_URL`: where queries go.
    pub url: Secret,
    /// `DATABASE_DIRECT_URL`: the same database without a pooler in between, where LISTEN works. None: as `url`.
    pub direct_url: Option<Secret>,
}

/// Identity, listener, sidecar, database and tokens of a service.
#[derive(Clone, Debug)]
pub struct CommonConfig {
    /// `AGENT_ID`, default the service's name: its app-id.
    pub agent_id: String,
    /// `AGENT_NAME`: the name shown to people. None: the service's title.
    pub agent_name: Option<String>,
    /// `APP_HOST` (default 0.0.0.0, since probes and sidecars come from outside) and `APP_PORT` (default 3000).
    pub listen: SocketAddr,
    /// `API_TOKEN`: what callers of the public API must send as bearer token.
    pub api_token: Option<Secret>,
    /// `ALLOW_ANONYMOUS`, default false: whether to serve without a token on an address that is not loopback.
    pub allow_anonymous: bool,
    /// `DAPR_HOST` (default localhost) and `DAPR_HTTP_PORT` (default 3500), as a base URL without a final slash.
    pub dapr_url: String,
    /// `APP_API_TOKEN`: what the sidecar sends in `dapr-api-token`.
    pub app_api_token: Option<Secret>,
    /// `DAPR_API_TOKEN`: what the sidecar wants in `dapr-api-token`.
    pub dapr_api_token: Option<Secret>,
    /// The database, if there is one.
    pub database: Option<DatabaseUrls>,
    /// `DRAIN_SECONDS`, default 20: how long an agent's requests in flight may go on after SIGTERM.
    pub drain: Duration,
    /// Logs and traces.
    pub telemetry: TelemetryConfig,
}

impl CommonConfig {
    /// Reads the configuration of `service`.
    pub fn from_env(env: &dyn Env, service: &str) -> Result<Self, ConfigError> {
        let agent_id = env.get("AGENT_ID").unwrap_or_else(|| service.to_owned());
        if !is_app_id(&agent_id) {
            let problem =
                format!("is `{agent_id}`, but must be 1 to 128 letters, digits, hyphens, dots or underscores");
            return Err(ConfigError::new("AGENT_ID", problem));
        }
        let host: IpAddr = parsed(env, "APP_HOST", IpAddr::from([0, 0, 0, 0]), "an IP address, such as 127.0.0.1")?;
        let port: u16 = parsed(env, "APP_PORT", 3000, "a port from 0 to 65535")?;
        let dapr_port: u16 = parsed(env, "DAPR_HTTP_PORT", 3500, "a port from 1 to 65535")?;
        let dapr_host = env.get("DAPR_HOST").unwrap_or_else(|| "localhost".to_owned());
        if !dapr_host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._:[]".contains(&b)) {
            return Err(ConfigError::new("DAPR_HOST", format!("is `{dapr_host}`, but must be a host name or address")));
        }
        Ok(Self {
            agent_id,
            agent_name: env.get("AGENT_NAME"),
            listen: SocketAddr::new(host, port),
            api_token: secret(env, "API_TOKEN"),
            allow_anonymous: switch(env, "ALLOW_ANONYMOUS", false)?,
            dapr_url: format!("http://{dapr_host}:{dapr_port}"),
            app_api_token: secret(env, "APP_API_TOKEN"),
            dapr_api_token: secret(env, "DAPR_API_TOKEN"),
            database: database(env)?,
            drain: drain(env)?,
            telemetry: TelemetryConfig::from_env(env)?,
        })
    }

    /// The database, or an error that says which variable is missing.
    pub fn require_database(&self) -> Result<&DatabaseUrls, ConfigError> {
        self.database
            .as_ref()
            .ok_or_else(|| ConfigError::new("DATABASE_URL", "is not set, but this service needs a PostgreSQL database"))
    }
}

/// `DRAIN_SECONDS`, for those who read nothing else of this.
pub fn drain(env: &dyn Env) -> Result<Duration, ConfigError> {
    let seconds: u64 = parsed(env, "DRAIN_SECONDS", DEFAULT_DRAIN.as_secs(), DRAIN_WANTED)?;
    if seconds > MAX_DRAIN_SECONDS {
        return Err(ConfigError::new("DRAIN_SECONDS", format!("is `{seconds}`, but must be {DRAIN_WANTED}")));
    }
    Ok(Duration::from_secs(seconds))
}

fn is_app_id(text: &str) -> bool {
    (1..=128).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b))
}

fn secret(env: &dyn Env, name: &str) -> Option<Secret> {
    env.get(name).map(Secret::new)
}

fn database(env: &dyn Env) -> Result<Option<DatabaseUrls>, ConfigError> {
    let url = match postgres_url(env, "DATABASE_URL")? {
        Some(url) => Some(url),
        None => postgres_url(env, "PG_PRIMARY_URL")?,
    };
    let direct_url = postgres_url(env, "DATABASE_DIRECT_URL")?;
    Ok(url.map(|url| DatabaseUrls { url, direct_url }))
}

/// The value may hold a password, so the error does not repeat it.
fn postgres_url(env: &dyn Env, name: &'static str) -> Result<Option<Secret>, ConfigError> {
    match env.get(name) {
        Some(url) if !url.starts_with("postgres://") && !url.starts_with("postgresql://") => {
            Err(ConfigError::new(name, "must begin with postgres:// or postgresql://"))
        }
        url => Ok(url.map(Secret::new)),
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test that cannot go on should fail there")]
mod tests {
    use std::{cell::RefCell, collections::BTreeSet};

    use super::*;
    use crate::{
        config::{LlmSettings, MqttSettings, VARIABLES},
        env::MapEnv,
    };

    fn read<const N: usize>(pairs: [(&str, &str); N]) -> Result<CommonConfig, String> {
        CommonConfig::from_env(&MapEnv::new(pairs), "simple-agent").map_err(|e| e.to_string())
    }

    #[test]
    fn defaults() {
        let config = read([]).unwrap();
        assert_eq!(config.agent_id, "simple-agent");
        assert_eq!(config.listen.to_string(), "0.0.0.0:3000");
        assert_eq!(config.dapr_url, "http://localhost:3500");
        assert_eq!(config.database, None);
        assert!(config.api_token.is_none() && !config.allow_anonymous);
        assert_eq!(
            config.require_database().unwrap_err().to_string(),
            "DATABASE_URL is not set, but this service needs a PostgreSQL database"
        );
    }

    #[test]
    fn pg_primary_url_stands_in_and_secrets_stay_out_of_debug() {
        let config = read([
            ("DATABASE_URL", ""),
            ("PG_PRIMARY_URL", "postgres://u:hunter2@h/db"),
            ("API_TOKEN", "hunter2"),
            ("APP_API_TOKEN", "hunter2"),
            ("DAPR_API_TOKEN", "hunter2"),
        ])
        .unwrap();
        assert_eq!(config.database.as_ref().unwrap().url.expose(), "postgres://u:hunter2@h/db");
        assert!(!format!("{config:?}").contains("hunter2"));
    }

    #[test]
    fn refusals_name_the_variable_and_never_a_secret() {
        for (name, value, says) in [
            ("APP_PORT", "http", "APP_PORT is `http`, but must be a port from 0 to 65535"),
            ("APP_HOST", "example", "APP_HOST is `example`, but must be an IP address, such as 127.0.0.1"),
            ("ALLOW_ANONYMOUS", "please", "ALLOW_ANONYMOUS is `please`, but must be true or false"),
            ("DATABASE_URL", "mysql://u:hunter2@h", "DATABASE_URL must begin with postgres:// or postgresql://"),
            ("DAPR_HOST", "a/b", "DAPR_HOST is `a/b`, but must be a host name or address"),
        ] {
            assert_eq!(read([(name, value)]).unwrap_err(), says);
        }
        assert!(read([("AGENT_ID", "two words")]).unwrap_err().starts_with("AGENT_ID is `two words`"));
    }

    #[test]
    fn every_variable_that_is_read_is_in_the_table() {
        struct Recorder(RefCell<BTreeSet<String>>);
        impl Env for Recorder {
            fn get(&self, name: &str) -> Option<String> {
                self.0.borrow_mut().insert(name.to_owned());
                None
            }
        }
        let env = Recorder(RefCell::default());
        CommonConfig::from_env(&env, "x").unwrap();
        LlmSettings::from_env(&env).unwrap();
        MqttSettings::from_env(&env).unwrap();
        let listed: BTreeSet<String> = VARIABLES.iter().map(|v| v.name.to_owned()).collect();
        assert_eq!(env.0.into_inner(), listed);
    }
}
