//! Tasks: the orchestrator's units of work (messaging.md §3).
//!
//! Each changes a task in one transaction together with its events and its outgoing messages, so that a crash
//! leaves either all of it or nothing. Each locks the task's row first and its attempt's row second, and looks
//! at both again under the lock: called twice, late, or by two orchestrators at once, it does nothing twice.
//! Times are the database's. What is to be published is returned, born claimed by the caller's relay.

mod accept;
mod cancel;
mod change;
mod due;
mod expire;
mod judge;
mod model;
mod query;
mod retry;
mod submit;

pub use accept::{Untaken, accept, untaken};
pub use cancel::cancel;
pub use change::{Change, FailedAttempt, Verdict};
pub use due::{Due, claim_due, next_due};
pub use expire::{Lost, expire, lost, undeliverable};
pub use model::{Assignment, NewTask, Task, TaskSummary};
pub use query::{Cursor, ListFilter, by_client_key, get, list, open_count};
pub use retry::{give_up, postpone, redispatch};
pub use submit::{Submitted, submit};

/// How long after an attempt's deadline a result that is just being written is waited for.
pub const GRACE: std::time::Duration = std::time::Duration::from_secs(2);
