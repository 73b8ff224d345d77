//! The event log: three ways in, queries, replay and a tail that misses nothing (events.md).

mod append;
mod buckets;
mod entry;
mod insert;
mod metrics;

use mesh_six_core::event::Position;

pub use append::append_in;

/// What became of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Appended {
    /// It is a row of the log now.
    Written(Position),
    /// Its key was already on record; nothing was written.
    Duplicate,
}
