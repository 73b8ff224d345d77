//! The inbox in the database, shared by all replicas of the agent.

use std::time::Duration;

use async_trait::async_trait;
use mesh_six_core::{
    Event,
    id::new_id,
    task::{TaskRequest, TaskResult},
};
use mesh_six_db::{
    Conn, DbResult,
    dead_letters::{self, DeadLetter},
    inbox::{self, Accepted, Claim, Finished, InboxKey, Renewed, Unpublished},
};
use uuid::Uuid;

use super::{Inbox, RELAY_LEASE};
use crate::agent::AgentDatabase;

/// A larger answer is refused: it would have to be read whole by everyone who asks for the task.
const MAX_RESULT_BYTES: usize = 8 * 1024 * 1024;

/// The table `agent_inbox`, as seen by one process.
pub(in super::super) struct DatabaseInbox {
    database: AgentDatabase,
    agent: String,
    /// This process, so that nobody else can finish what it claimed.
    owner: Uuid,
    lease: Duration,
}

impl DatabaseInbox {
    /// The inbox of `agent`.
    pub(in super::super) fn new(database: AgentDatabase, agent: &str, lease: Duration) -> Self {
        Self { database, agent: agent.to_owned(), owner: new_id(), lease }
    }

    async fn conn(&self) -> DbResult<Conn> {
        self.database.db.conn().await
    }
}

#[async_trait]
impl Inbox for DatabaseInbox {
    async fn accept(&self, request: &TaskRequest, traceparent: Option<&str>) -> DbResult<Accepted> {
        inbox::accept(&mut *self.conn().await?, request, &self.agent, traceparent).await
    }

    async fn claim(&self, limit: usize) -> DbResult<Vec<Claim>> {
        inbox::claim(&mut *self.conn().await?, &self.agent, self.owner, limit, self.lease).await
    }

    async fn renew(&self, key: &InboxKey) -> DbResult<Renewed> {
        inbox::renew(&mut *self.conn().await?, key, self.owner, self.lease).await
    }

    async fn finish(&self, result: &TaskResult, pending: &[Event], traceparent: Option<&str>) -> DbResult<Finished> {
        let finished = inbox::finish(&mut *self.conn().await?, self.owner, result, pending, traceparent).await?;
        self.database.log.wake();
        Ok(finished)
    }

    async fn take_events(&self, task: Uuid) -> Vec<Event> {
        self.database.sink.take_task(task).await
    }

    fn return_events(&self, events: Vec<Event>) {
        self.database.sink.put_back(events);
    }

    async fn unpublished(&self, limit: usize) -> DbResult<Vec<Unpublished>> {
        inbox::unpublished(&mut *self.conn().await?, &self.agent, limit, RELAY_LEASE).await
    }

    async fn published(&self, key: &InboxKey) -> DbResult<()> {
        inbox::published(&mut *self.conn().await?, key).await
    }

    async fn postpone(&self, key: &InboxKey, delay: Duration) -> DbResult<()> {
        inbox::postpone(&mut *self.conn().await?, key, delay).await
    }

    async fn bury(&self, letter: DeadLetter) -> DbResult<()> {
        dead_letters::store(&mut *self.conn().await?, &[letter]).await
    }

    async fn queued(&self) -> DbResult<i64> {
        inbox::queued(&mut *self.conn().await?, &self.agent).await
    }

    async fn prune(&self) -> DbResult<()> {
        inbox::prune(&mut *self.conn().await?, &self.agent, inbox::KEEP).await?;
        Ok(())
    }

    fn is_durable(&self) -> bool {
        true
    }

    fn max_result_bytes(&self) -> usize {
        MAX_RESULT_BYTES
    }
}
