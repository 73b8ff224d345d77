//! Logs and traces of a process.
//!
//! A service writes one JSON object a line on stdout ([`LogFormat::Json`]); `up` on a terminal writes short lines on
//! stderr ([`LogFormat::Human`]), so that stdout stays for what it prints itself. Spans go to an OTLP receiver
//! only if one is configured.

mod json;
mod otlp;

use std::io::IsTerminal;

use opentelemetry::trace::TracerProvider;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing_subscriber::{EnvFilter, Layer, filter::filter_fn, layer::SubscriberExt, util::SubscriberInitExt};

use crate::env::{ConfigError, Env};

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object a line on stdout: ts, level, service, msg, traceId, taskId and the other fields.
    Json,
    /// One short line on stderr, coloured on a terminal.
    Human,
}

/// What to log and where to send traces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TelemetryConfig {
    /// `LOG`, else `RUST_LOG`, default info: a filter in tracing's syntax.
    pub filter: String,
    /// `OTEL_EXPORTER_OTLP_ENDPOINT`: base URL of an OTLP receiver over HTTP.
    pub otlp_endpoint: Option<String>,
}

impl Default for TelemetryConfig {
    fn default() -> Self {
        Self { filter: "info".to_owned(), otlp_endpoint: None }
    }
}

impl TelemetryConfig {
    /// Reads the configuration.
    pub fn from_env(env: &dyn Env) -> Result<Self, ConfigError> {
        let (name, filter) = match env.get("LOG") {
            Some(filter) => ("LOG", filter),
            None => ("RUST_LOG", env.get("RUST_LOG").unwrap_or_else(|| "info".to_owned())),
        };
        EnvFilter::try_new(&filter).map_err(|_| {
            ConfigError::new(name, format!("is `{filter}`, but must be a filter such as info,hyper=warn"))
        })?;
        let otlp_endpoint = env.get("OTEL_EXPORTER_OTLP_ENDPOINT");
        if let Some(endpoint) = &otlp_endpoint
            && !(endpoint.starts_with("http://") || endpoint.starts_with("https://"))
        {
            let problem = format!("is `{endpoint}`, but must be an http or https address, such as http://host:4318");
            return Err(ConfigError::new("OTEL_EXPORTER_OTLP_ENDPOINT", problem));
        }
        Ok(Self { filter, otlp_endpoint })
    }
}

/// Telemetry could not be started.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The filter is malformed.
    #[error("the log filter is malformed")]
    Filter(#[from] tracing_subscriber::filter::ParseError),
    /// The exporter of traces could not be built.
    #[error("the exporter of traces could not be built")]
    Exporter(#[from] opentelemetry_otlp::ExporterBuildError),
    /// Its HTTP client could not be built.
    #[error("the HTTP client for traces could not be built")]
    Client(#[from] reqwest::Error),
    /// There is no runtime to send traces on.
    #[error("traces need a tokio runtime")]
    Runtime(#[from] tokio::runtime::TryCurrentError),
    /// The process has a subscriber already.
    #[error("logging was started twice")]
    Twice(#[from] tracing_subscriber::util::TryInitError),
}

/// Starts logging for the process, as `service`, and traces if there is a receiver. Needs a tokio runtime for those.
pub fn init(service: &str, format: LogFormat, config: &TelemetryConfig) -> Result<Guard, TelemetryError> {
    let provider = config.otlp_endpoint.as_deref().map(|to| otlp::provider(service, to)).transpose()?;
    let spans = provider.as_ref().map(|provider| {
        tracing_opentelemetry::layer()
            .with_tracer(provider.tracer("mesh-six"))
            .with_location(false)
            .with_threads(false)
            // Spans below info and those of the HTTP client that sends them stay here.
            .with_filter(filter_fn(|meta| {
                *meta.level() <= tracing::Level::INFO && meta.target().starts_with("mesh_six")
            }))
    });
    let filter = EnvFilter::try_new(&config.filter)?;
    let lines = match format {
        LogFormat::Json => json::JsonLines::new(service, std::io::stdout).with_filter(filter).boxed(),
        LogFormat::Human => tracing_subscriber::fmt::layer()
            .compact()
            .with_target(false)
            .with_ansi(std::io::stderr().is_terminal())
            .with_writer(std::io::stderr)
            .with_filter(filter)
            .boxed(),
    };
    tracing_subscriber::registry().with(lines).with(spans).try_init()?;
    log_panics();
    Ok(Guard(provider))
}

/// A panic is a log line like any other, with its place; its message may hold data and is cut.
fn log_panics() {
    std::panic::set_hook(Box::new(|info| {
        let message: String = info.payload_as_str().unwrap_or("no message").chars().take(500).collect();
        let location = info.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!(panic.message = message, panic.location = location, "a thread or task panicked");
    }));
}

/// Sends the last spans. Call [`Guard::finish`] before the runtime ends.
#[derive(Debug)]
#[must_use = "dropping the guard loses the last spans"]
pub struct Guard(Option<SdkTracerProvider>);

impl Guard {
    /// Sends what is left, in at most [`otlp::FLUSH_TIMEOUT`].
    pub async fn finish(self) {
        if let Some(provider) = self.0 {
            otlp::shutdown(provider).await;
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test that cannot go on should fail there")]
mod tests {
    use super::*;
    use crate::env::MapEnv;

    #[test]
    fn bad_filters_and_endpoints_are_refused_by_name() {
        let read = |name: &str, value: &str| {
            TelemetryConfig::from_env(&MapEnv::new([(name, value)])).map_err(|e| e.to_string())
        };
        assert!(read("LOG", "info,,=x=").unwrap_err().starts_with("LOG is `info,,=x=`"));
        assert!(read("OTEL_EXPORTER_OTLP_ENDPOINT", "tempo:4318").unwrap_err().contains("http or https"));
        assert_eq!(read("RUST_LOG", "debug").unwrap().filter, "debug");
    }
}
