//! Tests of the port, its adapters and the routes that a sidecar calls.

#![expect(clippy::unwrap_used, reason = "tests")]

mod beside_dapr;
mod conformance;
mod dapr;
mod local;
mod property;
mod routes;
mod support;
