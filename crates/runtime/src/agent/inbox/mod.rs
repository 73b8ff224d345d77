//! Where an agent keeps what it has accepted: in the database, or in memory where there is none.

mod database;
mod memory;

use std::time::Duration;

use async_trait::async_trait;
use mesh_six_core::{
    Event,
    task::{TaskRequest, TaskResult},
};
use mesh_six_db::{
    DbResult,
    dead_letters::DeadLetter,
    inbox::{Accepted, Claim, Finished, InboxKey, Renewed, Unpublished},
};
use uuid::Uuid;

pub(super) use database::DatabaseInbox;
pub(super) use memory::MemoryInbox;

/// An inbox. Errors that are transient mean: the same call may succeed later.
#[async_trait]
pub(super) trait Inbox: Send + Sync + 'static {
    /// Takes a request in, once; `traceparent` names the span that delivered it.
    async fn accept(&self, request: &TaskRequest, traceparent: Option<&str>) -> DbResult<Accepted>;

    /// Requests to be worked on now, at most `limit`, the most urgent first. Never gives one out twice.
    async fn claim(&self, limit: usize) -> DbResult<Vec<Claim>>;

    /// Says that the request is still being worked on.
    async fn renew(&self, key: &InboxKey) -> DbResult<Renewed>;

    /// Writes a result with the task's `pending` events; `traceparent` names the span that made it. Calling it again
    /// after an error is safe.
    async fn finish(&self, result: &TaskResult, pending: &[Event], traceparent: Option<&str>) -> DbResult<Finished>;

    /// Takes the task's model and tool events out of the sink, to go with its result.
    async fn take_events(&self, task: Uuid) -> Vec<Event>;

    /// Gives events back to the sink that did not go with a result.
    fn return_events(&self, events: Vec<Event>);

    /// Results that are due for publishing; not due again for a minute.
    async fn unpublished(&self, limit: usize) -> DbResult<Vec<Unpublished>>;

    /// Publishing has succeeded.
    async fn published(&self, key: &InboxKey) -> DbResult<()>;

    /// Publishing has failed; due again after `delay`.
    async fn postpone(&self, key: &InboxKey, delay: Duration) -> DbResult<()>;

    /// Stores why a delivery is dropped.
    async fn bury(&self, letter: DeadLetter) -> DbResult<()>;

    /// How many requests wait.
    async fn queued(&self) -> DbResult<i64>;

    /// Forgets what is too old to be asked for.
    async fn prune(&self) -> DbResult<()>;

    /// Whether what is queued outlives the process.
    fn is_durable(&self) -> bool;

    /// The largest answer that it can keep, in bytes of JSON.
    fn max_result_bytes(&self) -> usize;
}

/// For how long a result that is being published is not given out again.
const RELAY_LEASE: Duration = Duration::from_mins(1);
