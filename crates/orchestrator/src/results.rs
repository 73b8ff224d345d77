//! Results from the agents' topic. A message only wakes us up: what counts is in the agent's inbox.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use async_trait::async_trait;
use futures_util::{StreamExt, stream};
use mesh_six_core::{names::ORCHESTRATOR, parse_value, task::TaskResult};
use mesh_six_db::{
    DbResult,
    dead_letters::{self, DeadLetter},
    inbox::InboxKey,
};
use mesh_six_sidecar::{BulkHandler, Delivery, Status};

use crate::engine::Engine;

/// Results taken over at once.
const AT_ONCE: usize = 8;
/// How long it is remembered whether an agent keeps its inbox in the database.
const REMEMBER: Duration = Duration::from_secs(10);
/// Agents remembered at most; messages may name any.
const MAX_REMEMBERED: usize = 256;

/// The handler of `task-results`.
pub(crate) struct Results {
    engine: Arc<Engine>,
    inboxes: Mutex<HashMap<String, (Instant, bool)>>,
}

impl Results {
    pub(crate) fn new(engine: Arc<Engine>) -> Self {
        Self { engine, inboxes: Mutex::default() }
    }

    async fn take(&self, delivery: &Delivery) -> Status {
        // The trace is the task's own, whatever the message says of it.
        let result: TaskResult = match parse_value(delivery.content_with_trace().0) {
            Ok(result) => result,
            Err(error) => return self.rejected(delivery, &error).await,
        };
        // Only what the agent itself sent may be believed without its inbox, and only if it has none.
        let believe = delivery.event.source == result.agent_id && !self.keeps_inbox(&result.agent_id).await;
        let (key, traceparent) = (InboxKey::of_result(&result), delivery.traceparent.as_deref());
        match self.engine.accept(&key, Some(&result), believe, traceparent).await {
            Ok(_) => Status::Success,
            Err(error) if error.is_transient() => Status::Retry,
            Err(error) => self.rejected(delivery, &error.into()).await,
        }
    }

    /// Whether the agent says in its registration that its inbox is in the database, so that a message without
    /// an inbox row cannot be its own.
    async fn keeps_inbox(&self, agent: &str) -> bool {
        let now = Instant::now();
        let known = {
            let mut inboxes = self.inboxes.lock().unwrap_or_else(PoisonError::into_inner);
            inboxes.retain(|_, (asked, _)| now.duration_since(*asked) < REMEMBER);
            inboxes.get(agent).map(|(_, keeps)| *keeps)
        };
        if let Some(keeps) = known {
            return keeps;
        }
        let registered = self.engine.registry.get(agent).await.ok().flatten();
        let keeps = registered
            .and_then(|agent| agent.metadata)
            .is_some_and(|metadata| metadata.get("inbox").is_some_and(|inbox| inbox == "database"));
        let mut inboxes = self.inboxes.lock().unwrap_or_else(PoisonError::into_inner);
        if inboxes.len() < MAX_REMEMBERED {
            inboxes.insert(agent.to_owned(), (now, keeps));
        }
        keeps
    }

    async fn bury(&self, delivery: &Delivery, reason: &str) -> DbResult<()> {
        let letter = DeadLetter {
            app_id: ORCHESTRATOR.to_owned(),
            topic: delivery.topic.clone(),
            source: delivery.event.source.clone(),
            id: delivery.event.id.clone(),
            envelope: delivery.bytes.to_vec(),
            reason: Some(reason.to_owned()),
        };
        let mut conn = self.engine.db.conn().await?;
        dead_letters::store(&mut conn, &[letter]).await
    }
}

#[async_trait]
impl BulkHandler for Results {
    async fn handle(&self, deliveries: Vec<Delivery>) -> Vec<Status> {
        let taken = deliveries.iter().map(|delivery| self.take(delivery));
        stream::iter(taken.collect::<Vec<_>>()).buffered(AT_ONCE).collect().await
    }

    async fn dropped(&self, delivery: &Delivery, reason: &str) -> Status {
        let Err(error) = self.bury(delivery, reason).await else { return Status::Buried };
        tracing::warn!(error = %error, message.id = delivery.event.id, "a refused result could not be kept");
        if error.is_transient() { Status::Retry } else { Status::Drop }
    }
}
