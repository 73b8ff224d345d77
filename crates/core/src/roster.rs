//! The sixteen services, read from `services.toml` at build time.

include!(concat!(env!("OUT_DIR"), "/roster.rs"));

/// What sort of service it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// An LLM agent with the common contract (services.md §2).
    Agent,
    /// Part of the mesh itself.
    Infrastructure,
    /// Serves pages.
    Ui,
    /// Runs once per call; served, it waits for calls over HTTP.
    Command,
}

/// Something an agent can do, as in services.toml.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Capability {
    /// The name that tasks ask for.
    pub name: &'static str,
    /// 0..1.
    pub weight: f64,
    /// Whether the agent is the preferred one.
    pub preferred: bool,
}

/// One entry of services.toml.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Service {
    /// The Dapr app-id, and the word after `mesh-six serve`.
    pub name: &'static str,
    /// The name shown to people.
    pub title: &'static str,
    /// One line.
    pub purpose: &'static str,
    /// What sort of service.
    pub kind: Kind,
    /// Whether this version has it.
    pub built: bool,
    /// The port it listens on in its pod.
    pub port: u16,
    /// The port it listens on where all services share one address; no two are the same.
    pub local_port: u16,
    /// What it can do.
    pub capabilities: &'static [Capability],
    /// The topics it subscribes to.
    pub subscribes: &'static [&'static str],
    /// Environment variables beyond the common ones.
    pub environment: &'static [&'static str],
}

impl Service {
    /// Whether it stands beside a Dapr sidecar.
    pub const fn has_sidecar(&self) -> bool {
        matches!(self.kind, Kind::Agent | Kind::Infrastructure)
    }
}

/// The service called `name`.
pub fn find(name: &str) -> Option<&'static Service> {
    SERVICES.iter().find(|s| s.name == name)
}
