//! The mesh beside real Dapr, RabbitMQ, Redis and PostgreSQL.
//!
//! `cargo xtask test` runs these tests in a network namespace, where sidecars find each other on the loopback device.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod by_hand;
mod criteria;
mod healing;
mod hostile_agents;
mod hostile_messages;
mod log;
mod observed;
mod outage;
mod paths;
mod record;
mod recovery;
mod restart;
mod retry;
mod scripted;
mod soak;
mod start;
mod support;
mod traces;
mod verify;
