//! The agents: one module each, of prompt, capabilities and tools. Everything else, from delivery to draining,
//! comes from [`mesh_six_runtime::agent`].
//!
//! To add an agent, copy `simple_agent.rs`, add one line to [`AGENTS`](self), and set `built = true` in
//! services.toml; the conformance test then runs for it too.

mod prompt;
mod query;
mod simple_agent;

use std::sync::Arc;

use mesh_six_runtime::agent::Agent;

pub use simple_agent::SimpleAgent;

type Make = fn() -> Arc<dyn Agent>;

/// Every agent that is built, by its app-id in services.toml.
const AGENTS: &[(&str, Make)] = &[("simple-agent", || Arc::new(SimpleAgent))];

/// The agent called `name`.
pub fn find(name: &str) -> Option<Arc<dyn Agent>> {
    AGENTS.iter().find(|(known, _)| *known == name).map(|(_, make)| make())
}

/// The app-ids of all agents that are built.
pub fn names() -> impl Iterator<Item = &'static str> {
    AGENTS.iter().map(|(name, _)| *name)
}
