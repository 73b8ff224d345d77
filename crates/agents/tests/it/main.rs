//! The agents' integration tests, as one binary: the common contract over the local mesh, real PostgreSQL and a
//! scripted model.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on must fail")]

mod conformance;
mod dependencies;
mod draining;
mod faults;
mod invoke;
mod mesh;
mod queue;
mod roster;
mod tiny;
mod without_database;
