//! Tests of the port, its local adapter and the routes that a sidecar calls.

#![expect(clippy::unwrap_used, reason = "tests")]

mod conformance;
mod dapr;
mod daprd;
mod local;
mod property;
mod routes;
mod support;
