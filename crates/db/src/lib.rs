//! PostgreSQL: the pool, the schema, the event log and the units of work. Only this crate knows diesel.

mod checkout;
pub mod clock;
pub mod contents;
pub mod dead_letters;
pub mod error;
pub mod events;
pub mod export;
pub mod history;
pub mod import;
pub mod inbox;
pub mod metrics;
pub mod migrate;
pub mod outbox;
pub mod owner;
pub mod partitions;
pub mod pool;
pub mod retention;
pub mod schema;
pub mod seals;
pub mod server;
mod statement;
pub mod stats;
mod target;
pub mod tasks;
mod tls;
pub mod vouch;

pub use error::{DbError, DbResult};
pub use pool::{Conn, Database, DbConfig};
