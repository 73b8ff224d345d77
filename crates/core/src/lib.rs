//! The domain of mesh-six: types, rules and pure functions, without any IO.
//!
//! Everything here can be tested without a clock, a network or a database.
//! Errors are [`ApiError`]s, because callers match on their type.

pub mod agent;
pub mod dashboard;
pub mod error;
pub mod event;
pub mod hash;
pub mod id;
pub mod metric;
pub mod names;
pub mod parse;
pub mod roster;
pub mod scoring;
pub mod sink;
pub mod span;
pub mod task;
pub mod text;
pub mod time;
pub mod trace;
pub mod usage;

pub use error::{ApiError, ErrorType};
pub use event::{Event, StoredEvent};
pub use parse::{Validate, in_words, malformed, parse_json, parse_value};
pub use sink::EventSink;
pub use trace::TraceId;
pub use usage::Usage;
