//! The database crate against real PostgreSQL.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on must fail")]

mod events;
mod inbox;
mod migrations;
mod partitions;
mod schema;
mod seals;
