//! The model port against a stub endpoint that counts what it sees.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on should fail there")]

mod endpoint;
mod events;
mod failures;
mod offline;
mod structured;
mod stub;
mod telemetry;
mod tools;
