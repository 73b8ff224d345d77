//! A real Dapr sidecar for one app.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result, bail};

use super::{http::status, ports::server_port, process::Process};

/// Where `cargo xtask` puts it.
const PROGRAM: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/tools/daprd");
const READY: Duration = Duration::from_mins(1);
/// Calls in flight may end.
const GRACE: Duration = Duration::from_secs(10);

/// The ports of a sidecar, all on 127.0.0.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DaprdPorts {
    /// Its API over HTTP.
    pub http: u16,
    /// Its API over gRPC.
    pub grpc: u16,
    /// Where other sidecars reach it.
    pub internal: u16,
    /// Its metrics.
    pub metrics: u16,
}

impl DaprdPorts {
    /// Four that are free.
    pub fn free() -> Result<Self> {
        Ok(Self { http: server_port()?, grpc: server_port()?, internal: server_port()?, metrics: server_port()? })
    }
}

/// How to run a sidecar.
#[derive(Clone, Debug)]
pub struct DaprdConfig {
    /// What it is called in its log's file name and in messages.
    pub name: String,
    /// The app's id.
    pub app_id: String,
    /// Where the app listens on 127.0.0.1, if there is one.
    pub app_port: Option<u16>,
    /// The folder of its components.
    pub resources: PathBuf,
    /// Its configuration, if it has one.
    pub configuration: Option<PathBuf>,
    /// The folder of its log; made if missing.
    pub folder: PathBuf,
    /// Its ports; free ones if `None`.
    pub ports: Option<DaprdPorts>,
    /// What callers must show in the header `dapr-api-token`.
    pub api_token: Option<String>,
    /// What it shows to the app in the same header.
    pub app_token: Option<String>,
    /// Its log's level.
    pub log_level: String,
}

impl DaprdConfig {
    /// For this app, with these components, its log in `folder`; no app yet, no tokens.
    pub fn new(app_id: &str, resources: impl Into<PathBuf>, folder: impl Into<PathBuf>) -> Self {
        Self {
            name: format!("{app_id}.daprd"),
            app_id: app_id.to_owned(),
            app_port: None,
            resources: resources.into(),
            configuration: None,
            folder: folder.into(),
            ports: None,
            api_token: None,
            app_token: None,
            log_level: "info".to_owned(),
        }
    }
}

/// A sidecar of its own.
#[derive(Debug)]
pub struct Daprd {
    process: Process,
    ports: DaprdPorts,
}

impl Daprd {
    /// A running sidecar that can publish and reach its stores. Whether it has found the app is another question:
    /// [`Self::wait_subscribed`].
    pub async fn start(config: DaprdConfig) -> Result<Self> {
        let mut daprd = Self::prepare(&config)?;
        daprd.restart().await?;
        Ok(daprd)
    }

    /// One that does not run yet.
    pub fn prepare(config: &DaprdConfig) -> Result<Self> {
        let program = Path::new(PROGRAM);
        if !program.exists() {
            bail!("daprd is missing in target/tools: set it up with `cargo xtask tools`");
        }
        fs::create_dir_all(&config.folder).with_context(|| format!("cannot make {}", config.folder.display()))?;
        let ports = config.ports.map_or_else(DaprdPorts::free, Ok)?;
        let log = config.folder.join(format!("{}.log", config.name));
        let mut process = Process::new(&config.name, program, log, GRACE);
        let command = process.command();
        command.args(["--mode", "standalone", "--app-id", &config.app_id, "--app-protocol", "http"]);
        command.args(["--app-channel-address", "127.0.0.1", "--dapr-listen-addresses", "127.0.0.1"]);
        command.args(["--dapr-internal-grpc-listen-address", "127.0.0.1", "--metrics-listen-address", "127.0.0.1"]);
        for (option, port) in [
            ("--dapr-http-port", Some(ports.http)),
            ("--dapr-grpc-port", Some(ports.grpc)),
            ("--dapr-internal-grpc-port", Some(ports.internal)),
            ("--metrics-port", Some(ports.metrics)),
            ("--app-port", config.app_port),
        ] {
            if let Some(port) = port {
                command.arg(option).arg(port.to_string());
            }
        }
        command.arg("--resources-path").arg(&config.resources).args(["--log-level", &config.log_level]);
        if let Some(configuration) = &config.configuration {
            command.arg("--config").arg(configuration);
        }
        // Without it daprd looks for an address that others reach, and ends where there is none.
        command.env("DAPR_HOST_IP", "127.0.0.1");
        for (name, token) in [("DAPR_API_TOKEN", &config.api_token), ("APP_API_TOKEN", &config.app_token)] {
            if let Some(token) = token {
                command.env(name, token);
            }
        }
        Ok(Self { process, ports })
    }

    /// Its ports.
    pub fn ports(&self) -> DaprdPorts {
        self.ports
    }

    /// The root of its HTTP API.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.ports.http)
    }

    /// Where its metrics are.
    pub fn metrics_url(&self) -> String {
        format!("http://127.0.0.1:{}/metrics", self.ports.metrics)
    }

    /// Its process.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// Starts it again after it was ended, on the same ports, and waits until it can publish and reach its stores.
    pub async fn restart(&mut self) -> Result<()> {
        self.process.start()?;
        self.wait("/v1.0/healthz/outbound").await
    }

    /// Waits until it has found the app and made its subscriptions.
    pub async fn wait_subscribed(&mut self) -> Result<()> {
        self.wait("/v1.0/healthz").await
    }

    async fn wait(&mut self, path: &str) -> Result<()> {
        let url = format!("{}{path}", self.url());
        self.process.wait_ready(READY, async || status(&url).await == Some(204)).await
    }
}
