//! The inbox of an agent without a database. Weaker: what is queued dies with the process, and the orchestrator
//! notices at the attempt's deadline.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, HashMap, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use mesh_six_core::{
    Event, names,
    task::{TaskRequest, TaskResult},
};
use mesh_six_db::{
    DbError, DbResult,
    dead_letters::DeadLetter,
    inbox::{Accepted, Claim, Finished, InboxKey, Renewed, Unpublished},
};
use tokio::time::Instant;
use uuid::Uuid;

use super::{Inbox, RELAY_LEASE};

/// Requests that may wait, run or be due for publishing; beyond that a delivery has to come again later.
const MAX_OPEN: usize = 1_000;
/// Published results that are kept, so that a redelivery is answered without working again.
const MAX_PUBLISHED: usize = 500;

/// An attempt; the agent is always this one.
type Attempt = (Uuid, i32);

/// Most urgent first, then oldest.
type Place = (Reverse<i32>, u64);

enum State {
    Queued,
    Running,
    Done { result: TaskResult, due: Instant, tries: i32 },
    Published { result: TaskResult },
}

struct Entry {
    deadline: Instant,
    state: State,
    traceparent: Option<String>,
}

#[derive(Default)]
struct Inner {
    entries: HashMap<Attempt, Entry>,
    queue: BTreeMap<Place, TaskRequest>,
    /// Oldest first.
    published: VecDeque<Attempt>,
    arrivals: u64,
}

/// The inbox in memory.
pub(in super::super) struct MemoryInbox {
    agent: String,
    inner: Mutex<Inner>,
}

impl MemoryInbox {
    /// The empty inbox of `agent`.
    pub(in super::super) fn new(agent: &str) -> Self {
        Self { agent: agent.to_owned(), inner: Mutex::default() }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn publish_again(&mut self, attempt: Attempt) {
        if let Some(entry) = self.entries.get_mut(&attempt)
            && let State::Published { result } = &entry.state
        {
            entry.state = State::Done { result: result.clone(), due: Instant::now(), tries: 0 };
            self.published.retain(|known| *known != attempt);
        }
    }

    fn drop_expired(&mut self) {
        let now = Instant::now();
        let Self { entries, queue, .. } = self;
        queue.retain(|_, request| {
            let attempt = (request.id, request.attempt);
            let open = entries.get(&attempt).is_some_and(|entry| entry.deadline > now);
            if !open {
                entries.remove(&attempt);
            }
            open
        });
    }
}

#[async_trait]
impl Inbox for MemoryInbox {
    async fn accept(&self, request: &TaskRequest, traceparent: Option<&str>) -> DbResult<Accepted> {
        let mut inner = self.inner();
        let attempt = (request.id, request.attempt);
        match inner.entries.get(&attempt).map(|entry| &entry.state) {
            Some(State::Queued | State::Running) => return Ok(Accepted::Known),
            Some(State::Done { .. }) => return Ok(Accepted::Done),
            Some(State::Published { .. }) => {
                inner.publish_again(attempt);
                return Ok(Accepted::Done);
            }
            None => {}
        }
        inner.drop_expired();
        if inner.entries.len() - inner.published.len() >= MAX_OPEN {
            return Err(DbError::Unavailable(format!("the agent's memory holds {MAX_OPEN} requests already")));
        }
        let timeout = Duration::from_secs(u64::try_from(request.timeout).unwrap_or(0));
        inner.arrivals += 1;
        let place = (Reverse(request.priority), inner.arrivals);
        inner.queue.insert(place, request.clone());
        let traceparent = traceparent.map(str::to_owned);
        inner.entries.insert(attempt, Entry { deadline: Instant::now() + timeout, state: State::Queued, traceparent });
        Ok(Accepted::Queued)
    }

    async fn claim(&self, limit: usize) -> DbResult<Vec<Claim>> {
        let mut inner = self.inner();
        inner.drop_expired();
        let mut claims = Vec::new();
        while claims.len() < limit {
            let Some((_, request)) = inner.queue.pop_first() else { break };
            if let Some(entry) = inner.entries.get_mut(&(request.id, request.attempt)) {
                entry.state = State::Running;
                let remaining = entry.deadline.saturating_duration_since(Instant::now());
                claims.push(Claim { request, remaining, traceparent: entry.traceparent.clone() });
            }
        }
        Ok(claims)
    }

    async fn renew(&self, _: &InboxKey) -> DbResult<Renewed> {
        Ok(Renewed::Open)
    }

    async fn finish(&self, result: &TaskResult, _: &[Event], traceparent: Option<&str>) -> DbResult<Finished> {
        let mut inner = self.inner();
        let Some(entry) = inner.entries.get_mut(&(result.task_id, result.attempt)) else {
            return Ok(Finished::Fenced);
        };
        entry.state = State::Done { result: result.clone(), due: Instant::now(), tries: 0 };
        if let Some(traceparent) = traceparent {
            entry.traceparent = Some(traceparent.to_owned());
        }
        Ok(Finished::Written { late: false })
    }

    async fn take_events(&self, _: Uuid) -> Vec<Event> {
        Vec::new()
    }

    fn return_events(&self, _: Vec<Event>) {}

    async fn unpublished(&self, limit: usize) -> DbResult<Vec<Unpublished>> {
        let now = Instant::now();
        let mut due_now = Vec::new();
        for entry in self.inner().entries.values_mut() {
            if let State::Done { result, due, tries } = &mut entry.state
                && *due <= now
                && due_now.len() < limit
            {
                let traceparent = entry.traceparent.clone();
                due_now.push(Unpublished { result: result.clone(), tries: *tries, traceparent });
                *due = now + RELAY_LEASE;
                *tries += 1;
            }
        }
        Ok(due_now)
    }

    async fn published(&self, key: &InboxKey) -> DbResult<()> {
        let mut inner = self.inner();
        let attempt = (key.task_id, key.attempt);
        if let Some(entry) = inner.entries.get_mut(&attempt)
            && let State::Done { result, .. } = &entry.state
        {
            entry.state = State::Published { result: result.clone() };
            inner.published.push_back(attempt);
        }
        while inner.published.len() > MAX_PUBLISHED {
            if let Some(oldest) = inner.published.pop_front() {
                inner.entries.remove(&oldest);
            }
        }
        Ok(())
    }

    async fn postpone(&self, key: &InboxKey, delay: Duration) -> DbResult<()> {
        if let Some(Entry { state: State::Done { due, .. }, .. }) =
            self.inner().entries.get_mut(&(key.task_id, key.attempt))
        {
            *due = Instant::now() + delay;
        }
        Ok(())
    }

    async fn bury(&self, letter: DeadLetter) -> DbResult<()> {
        // Without a database the broker's dead-letter topic has the message and this line its reason.
        let reason = letter.reason.unwrap_or_default();
        tracing::warn!(agent.id = self.agent, message.id = letter.id, reason, "a delivery was dropped");
        Ok(())
    }

    async fn queued(&self) -> DbResult<i64> {
        Ok(i64::try_from(self.inner().queue.len()).unwrap_or(i64::MAX))
    }

    async fn prune(&self) -> DbResult<()> {
        self.inner().drop_expired();
        Ok(())
    }

    fn is_durable(&self) -> bool {
        false
    }

    fn max_result_bytes(&self) -> usize {
        // A larger one could only travel by reference to an inbox that others can read.
        names::MAX_MESSAGE_BYTES / 2
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test that cannot go on must fail")]

    use mesh_six_core::{TraceId, Usage, id::new_id, time};
    use serde_json::json;

    use super::*;

    fn request(priority: i32) -> TaskRequest {
        TaskRequest {
            id: new_id(),
            capability: "c".to_owned(),
            payload: serde_json::Map::new(),
            priority,
            timeout: 60,
            requested_by: "test".to_owned(),
            created_at: time::now(),
            trace_id: TraceId::new(),
            attempt: 1,
            user_id: None,
        }
    }

    async fn finish(inbox: &MemoryInbox, request: &TaskRequest) -> InboxKey {
        let result = TaskResult::new(request, "a", Ok(json!(1)), 1, Usage::default());
        assert_eq!(inbox.finish(&result, &[], None).await.unwrap(), Finished::Written { late: false });
        InboxKey::of_result(&result)
    }

    #[tokio::test]
    async fn claims_go_by_priority_then_age_and_expired_ones_are_forgotten() {
        let inbox = MemoryInbox::new("a");
        let requests: Vec<_> = [1, 9, 5, 9].into_iter().map(request).collect();
        for request in &requests {
            assert_eq!(inbox.accept(request, None).await.unwrap(), Accepted::Queued);
            assert_eq!(inbox.accept(request, None).await.unwrap(), Accepted::Known);
        }
        let claims = inbox.claim(3).await.unwrap();
        let order: Vec<_> = claims.iter().map(|claim| claim.request.id).collect();
        assert_eq!(order, [requests[1].id, requests[3].id, requests[2].id]);
        assert_eq!(inbox.queued().await.unwrap(), 1);
        inbox.accept(&TaskRequest { timeout: 0, ..request(10) }, None).await.unwrap();
        let last: Vec<_> = inbox.claim(3).await.unwrap().into_iter().map(|claim| claim.request.id).collect();
        assert_eq!(last, [requests[0].id], "the most urgent one had no time left");
        assert_eq!(inbox.queued().await.unwrap(), 0);
    }

    #[tokio::test]
    async fn what_is_being_published_is_not_given_out_twice_and_comes_again_when_it_fails() {
        let inbox = MemoryInbox::new("a");
        let request = request(5);
        inbox.accept(&request, None).await.unwrap();
        inbox.claim(1).await.unwrap();
        let key = finish(&inbox, &request).await;
        assert_eq!(inbox.unpublished(10).await.unwrap().len(), 1);
        assert_eq!(inbox.unpublished(10).await.unwrap().len(), 0);
        inbox.postpone(&key, Duration::from_mins(1)).await.unwrap();
        assert_eq!(inbox.unpublished(10).await.unwrap().len(), 0);
        inbox.postpone(&key, Duration::ZERO).await.unwrap();
        assert_eq!(inbox.unpublished(10).await.unwrap()[0].tries, 1);
        inbox.published(&key).await.unwrap();
        assert_eq!(inbox.accept(&request, None).await.unwrap(), Accepted::Done);
        assert_eq!(inbox.unpublished(10).await.unwrap().len(), 1, "asked for again");
    }

    #[tokio::test]
    async fn it_is_bounded() {
        let inbox = MemoryInbox::new("a");
        for _ in 0..MAX_OPEN {
            inbox.accept(&request(5), None).await.unwrap();
        }
        assert!(inbox.accept(&request(5), None).await.unwrap_err().is_transient());
        for claim in inbox.claim(MAX_OPEN).await.unwrap() {
            let key = finish(&inbox, &claim.request).await;
            inbox.published(&key).await.unwrap();
        }
        assert_eq!(inbox.inner().entries.len(), MAX_PUBLISHED);
        assert_eq!(inbox.accept(&request(5), None).await.unwrap(), Accepted::Queued);
    }
}
