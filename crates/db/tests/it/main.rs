//! The database crate against real PostgreSQL.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on must fail")]

mod checkout;
mod contents;
mod events;
mod faults;
mod history;
mod inbox;
mod migrations;
mod million;
mod partitions;
mod restore;
mod retention;
mod schema;
mod seals;
mod stats;
mod tls;
mod transfer;
