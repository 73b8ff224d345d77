//! The runtime's integration tests, as one binary.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on should fail there")]

mod ask;
mod memory;
mod mqtt;
mod registry;
mod serving;
mod shell;
mod signals;
mod traces;
