//! A service and its sidecar.

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt,
    path::Path,
    time::Duration,
};

use anyhow::{Context, Result};
use tokio::sync::Mutex;

use super::{InstanceSpec, RigSpec};
use crate::{
    launch::{Daprd, DaprdConfig, DaprdPorts, Link, Process, Surroundings, render, server_port, status},
    url,
};

const READY: Duration = Duration::from_mins(1);
/// A service gives its work this long to end.
const GRACE: Duration = Duration::from_mins(2);

/// What all instances are told.
pub(super) struct Common<'a> {
    pub(super) spec: &'a RigSpec,
    /// For the services.
    pub(super) database_url: String,
    pub(super) broker_url: String,
    pub(super) redis_address: String,
    pub(super) redis_password: String,
    pub(super) app_token: String,
    pub(super) api_token: String,
}

/// The ways that can be cut.
#[derive(Debug)]
pub(super) struct Links {
    pub(super) database: Link,
    pub(super) broker: Link,
    pub(super) store: Link,
}

/// A service and its sidecar.
#[derive(Debug)]
pub(super) struct Instance {
    pub(super) spec: InstanceSpec,
    pub(super) port: u16,
    pub(super) sidecar_ports: DaprdPorts,
    pub(super) links: Option<Links>,
    pub(super) app: Mutex<Process>,
    pub(super) daprd: Mutex<Daprd>,
}

impl Instance {
    /// Neither of the two runs yet.
    pub(super) async fn prepare(spec: InstanceSpec, common: &Common<'_>, folder: &Path) -> Result<Self> {
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        // It holds the components' secrets.
        fs::set_permissions(folder, Permissions::from_mode(0o700))?;
        let links = if common.spec.links { Some(links(common).await?) } else { None };
        let port = spec.port.map_or_else(server_port, Ok)?;
        let sidecar_ports = spec.sidecar_ports.map_or_else(DaprdPorts::free, Ok)?;
        let app = Mutex::new(app(&spec, common, links.as_ref(), (port, sidecar_ports.http), folder)?);
        let daprd = Mutex::new(daprd(&spec, common, links.as_ref(), (port, sidecar_ports), folder)?);
        Ok(Self { spec, port, sidecar_ports, links, app, daprd })
    }

    /// Starts both at once: either order works.
    pub(super) async fn start(&self) -> Result<()> {
        self.app.lock().await.start()?;
        self.daprd.lock().await.process().start()
    }

    /// Waits until the service says that it is ready and the sidecar has made its subscriptions.
    pub(super) async fn wait_ready(&self) -> Result<()> {
        let url = format!("{}/readyz", self.url());
        self.app.lock().await.wait_ready(READY, async || status(&url).await == Some(200)).await?;
        self.daprd.lock().await.wait_subscribed().await
    }

    pub(super) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }
}

async fn links(common: &Common<'_>) -> Result<Links> {
    Ok(Links {
        database: Link::start(url::host(&common.database_url)).await?,
        broker: Link::start(url::host(&common.broker_url)).await?,
        store: Link::start(&*common.redis_address).await?,
    })
}

fn app(
    spec: &InstanceSpec,
    common: &Common<'_>,
    links: Option<&Links>,
    (port, sidecar_port): (u16, u16),
    folder: &Path,
) -> Result<Process> {
    let rig = common.spec;
    let program = rig.program.canonicalize();
    let program = program.with_context(|| format!("there is no program {}", rig.program.display()))?;
    let mut process = Process::new(&spec.name, program, folder.join("app.log"), GRACE);
    let command = process.command();
    command.args(["serve", &spec.service]).envs([
        ("AGENT_ID", &*spec.app_id),
        ("APP_HOST", "127.0.0.1"),
        ("APP_PORT", &port.to_string()),
        ("DAPR_HOST", "127.0.0.1"),
        ("DAPR_HTTP_PORT", &sidecar_port.to_string()),
        ("APP_API_TOKEN", &common.app_token),
        ("DAPR_API_TOKEN", &common.api_token),
    ]);
    if spec.database {
        let url = &common.database_url;
        let url = links.map_or_else(|| url.clone(), |links| url::with_host(url, &links.database.address()));
        command.env("DATABASE_URL", url);
    }
    match &rig.model_url {
        Some(url) => command.env("LITELLM_BASE_URL", url),
        None => command.env("LLM_OFFLINE", "true"),
    };
    for (name, value) in [("OTEL_EXPORTER_OTLP_ENDPOINT", &rig.otlp), ("MQTT_URL", &rig.mqtt)] {
        if let Some(value) = value {
            command.env(name, value);
        }
    }
    command.envs(spec.env.iter().map(|(name, value)| (name, value)));
    Ok(process)
}

fn daprd(
    spec: &InstanceSpec,
    common: &Common<'_>,
    links: Option<&Links>,
    (port, sidecar_ports): (u16, DaprdPorts),
    folder: &Path,
) -> Result<Daprd> {
    let (mut broker_url, mut redis_address) = (common.broker_url.clone(), common.redis_address.clone());
    if let Some(links) = links {
        broker_url = url::with_host(&broker_url, &links.broker.address());
        redis_address = links.store.address();
    }
    let surroundings = Surroundings {
        broker_url,
        redis_address,
        redis_password: common.redis_password.clone(),
        otlp: common.spec.otlp.as_deref().map(|url| url::host(url).to_owned()),
        also: vec![(spec.app_id.clone(), spec.service.clone())],
    };
    let rendered = render(&surroundings, folder)?;
    Daprd::prepare(&DaprdConfig {
        name: format!("{}.daprd", spec.name),
        app_port: Some(port),
        configuration: Some(rendered.configuration),
        ports: Some(sidecar_ports),
        api_token: Some(common.api_token.clone()),
        app_token: Some(common.app_token.clone()),
        ..DaprdConfig::new(&spec.app_id, rendered.resources, folder)
    })
}
