//! The event log: three ways in, queries, replay and a tail that misses nothing (events.md).
//!
//! [`EventLog::append`] returns when its events are committed, [`append_in`] commits with the caller's transaction,
//! [`DatabaseSink`] never delays its caller.

mod append;
mod buckets;
mod clock;
mod copy;
mod driven;
mod entry;
mod follow;
mod horizon;
mod insert;
mod keys;
mod known;
mod log;
mod queue;
pub(crate) mod read;
mod session;
mod sink;
mod strays;
mod unit;
mod wake;
mod write;
mod writers;

use mesh_six_core::event::Position;

pub use append::append_in;
pub use horizon::{HorizonHolder, HorizonReport};
pub use log::EventLog;
pub use sink::{DatabaseSink, SinkCounters};

/// What became of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Appended {
    /// It is a row of the log now.
    Written(Position),
    /// Its key was already on record; nothing was written.
    Duplicate,
}
