//! The orchestrator with a real PostgreSQL, the local mesh and agents that do as the test says.
#![expect(clippy::unwrap_used, reason = "a test that fails should say where")]

mod agent;
mod dashboard;
mod http;
mod letters;
mod outage;
mod property;
mod races;
mod recovery;
mod results;
mod retry;
mod rig;
mod routing;
mod timeline;
