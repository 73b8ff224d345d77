//! PostgreSQL: the pool, the schema, the event log and the units of work. Only this crate knows diesel.

pub mod error;
pub mod migrate;
pub mod pool;
pub mod schema;

pub use error::{DbError, DbResult};
pub use pool::{Conn, Database, DbConfig};
