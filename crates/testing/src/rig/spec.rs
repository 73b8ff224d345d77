//! What a rig consists of.

use std::path::PathBuf;

use mesh_six_core::roster;

use crate::launch::DaprdPorts;

/// What to start.
#[derive(Clone, Debug)]
pub struct RigSpec {
    /// The binary `mesh-six`.
    pub program: PathBuf,
    /// Where everything is kept; `None` for a temporary folder that goes with the rig.
    pub folder: Option<PathBuf>,
    /// The services, each beside a sidecar of its own.
    pub instances: Vec<InstanceSpec>,
    /// Root of an OpenAI-compatible endpoint, up to and including `/v1`; without one the offline model answers.
    pub model_url: Option<String>,
    /// Root of a receiver of traces (OTLP over HTTP), such as `http://127.0.0.1:4318`.
    pub otlp: Option<String>,
    /// A broker for the dashboard, such as `mqtt://127.0.0.1:1883`.
    pub mqtt: Option<String>,
    /// Whether the ways from an instance to the servers can be cut.
    pub links: bool,
    /// Lines for `rabbitmq.conf`.
    pub rabbitmq: Vec<(String, String)>,
    /// Settings of PostgreSQL.
    pub postgresql: Vec<(String, String)>,
    /// Ports of the servers; free ones if `None`.
    pub ports: ServerPorts,
}

/// Ports of the servers on 127.0.0.1; free ones if `None`.
#[derive(Clone, Copy, Debug, Default)]
pub struct ServerPorts {
    /// PostgreSQL's.
    pub postgresql: Option<u16>,
    /// RabbitMQ's.
    pub rabbitmq: Option<u16>,
    /// Redis's.
    pub redis: Option<u16>,
}

/// A service and its sidecar.
#[derive(Clone, Debug)]
pub struct InstanceSpec {
    /// What the rig calls it; its sidecar is `{name}.daprd`.
    pub name: String,
    /// The word after `mesh-six serve`.
    pub service: String,
    /// Whom the others know it as. Instances with the same one share its queue.
    pub app_id: String,
    /// More environment, over the rig's own.
    pub env: Vec<(String, String)>,
    /// Whether it is told where the database is.
    pub database: bool,
    /// Where it listens; a free port if `None`.
    pub port: Option<u16>,
    /// Its sidecar's ports; free ones if `None`.
    pub sidecar_ports: Option<DaprdPorts>,
}

impl RigSpec {
    /// The servers alone.
    pub fn servers(program: impl Into<PathBuf>) -> Self {
        Self {
            program: program.into(),
            folder: None,
            instances: Vec::new(),
            model_url: None,
            otlp: None,
            mqtt: None,
            links: false,
            rabbitmq: Vec::new(),
            postgresql: Vec::new(),
            ports: ServerPorts::default(),
        }
    }

    /// The servers and one of each service that is built and stands beside a sidecar.
    pub fn all(program: impl Into<PathBuf>) -> Self {
        let built = roster::SERVICES.iter().filter(|service| service.built && service.has_sidecar());
        built.fold(Self::servers(program), |spec, service| spec.with(InstanceSpec::of(service.name)))
    }

    /// With one more instance.
    #[must_use]
    pub fn with(mut self, instance: InstanceSpec) -> Self {
        self.instances.push(instance);
        self
    }

    /// With ways that can be cut.
    #[must_use]
    pub fn with_links(mut self) -> Self {
        self.links = true;
        self
    }

    /// With this variable for the instance of that name.
    ///
    /// # Panics
    /// If there is none of that name.
    #[must_use]
    pub fn with_env(mut self, instance: &str, name: &str, value: &str) -> Self {
        let found = self.instances.iter_mut().find(|spec| spec.name == instance);
        let spec = found.unwrap_or_else(|| panic!("the rig has no instance {instance}"));
        spec.env.push((name.to_owned(), value.to_owned()));
        self
    }
}

impl InstanceSpec {
    /// The service under its own name.
    pub fn of(service: &str) -> Self {
        Self {
            name: service.to_owned(),
            service: service.to_owned(),
            app_id: service.to_owned(),
            env: Vec::new(),
            database: true,
            port: None,
            sidecar_ports: None,
        }
    }

    /// Another replica of the service, with a name of its own.
    pub fn replica(service: &str, name: &str) -> Self {
        Self { name: name.to_owned(), ..Self::of(service) }
    }

    /// The same program as another agent, with an app-id of its own, which is also its name.
    pub fn as_app(service: &str, app_id: &str) -> Self {
        Self { name: app_id.to_owned(), app_id: app_id.to_owned(), ..Self::of(service) }
    }

    /// With one more variable.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }
}
