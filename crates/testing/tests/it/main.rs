//! The test support itself, against real PostgreSQL.

#![expect(clippy::unwrap_used, reason = "tests")]

mod container;
mod databases;
mod leftovers;
mod private_server;
mod stub_model;
