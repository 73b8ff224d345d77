//! Claims requests from the inbox, has them answered, and writes the answers.

use std::{pin::pin, sync::Arc, time::Duration};

use mesh_six_core::{
    ErrorType, Event, Usage,
    task::{TaskError, TaskRequest, TaskResult},
};
use mesh_six_db::{
    DbError,
    inbox::{Claim, Finished, InboxKey, Renewed},
};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    execution::{Execution, Interrupt},
    inbox::Inbox,
};

/// The longest pause between two tries while the database is away. Shorter than a lease, so that a result is
/// written before anyone may take its silence for death.
const MAX_PAUSE: Duration = Duration::from_secs(1);

/// The workers of an agent.
#[derive(Clone)]
pub(super) struct Worker {
    pub(super) inbox: Arc<dyn Inbox>,
    pub(super) execution: Arc<Execution>,
    /// One permit for each request in work, `/invoke` included.
    pub(super) slots: Arc<Semaphore>,
    /// There is something to claim.
    pub(super) queued: Arc<Notify>,
    /// There is something to publish.
    pub(super) finished: Arc<Notify>,
    /// The requests in work.
    pub(super) in_work: TaskTracker,
    pub(super) poll: Duration,
    pub(super) lease: Duration,
    /// Requests in work are to be given up.
    pub(super) give_up: CancellationToken,
    /// Results that still cannot be written are to be abandoned.
    pub(super) abandon: CancellationToken,
}

impl Worker {
    /// Claims and works until `stop`; what was claimed goes on.
    pub(super) async fn run(self, stop: CancellationToken) {
        let mut away = false;
        while !stop.is_cancelled() {
            let slots = tokio::select! {
                slots = self.free_slots() => slots,
                () = stop.cancelled() => return,
            };
            // Not to be cancelled: what is claimed must be worked on.
            match self.inbox.claim(slots.len()).await {
                Ok(claims) => {
                    if std::mem::take(&mut away) {
                        tracing::info!("the inbox can be read again");
                    }
                    let full = claims.len() == slots.len();
                    for (claim, slot) in claims.into_iter().zip(slots) {
                        let worker = self.clone();
                        self.in_work.spawn(async move { worker.work(claim, slot).await });
                    }
                    if !full {
                        self.wait(self.poll, &stop).await;
                    }
                }
                Err(error) => {
                    drop(slots);
                    if !std::mem::replace(&mut away, true) {
                        tracing::warn!(error = &error as &dyn std::error::Error, "the inbox cannot be read");
                    }
                    self.wait(MAX_PAUSE, &stop).await;
                }
            }
        }
    }

    /// All slots that are free, at least one.
    async fn free_slots(&self) -> Vec<OwnedSemaphorePermit> {
        // The semaphore is never closed.
        let mut slots: Vec<_> = self.slots.clone().acquire_owned().await.into_iter().collect();
        while let Ok(more) = self.slots.clone().try_acquire_owned() {
            slots.push(more);
        }
        slots
    }

    async fn wait(&self, at_most: Duration, stop: &CancellationToken) {
        tokio::select! {
            () = self.queued.notified() => {}
            () = tokio::time::sleep(at_most) => {}
            () = stop.cancelled() => {}
        }
    }

    async fn work(&self, claim: Claim, slot: OwnedSemaphorePermit) {
        let request = Arc::new(claim.request);
        let key = InboxKey::of_request(&request, &self.execution.definition.app_id);
        let interrupt = pin!(async {
            tokio::select! {
                reason = self.keep_lease(&key) => reason,
                () = self.give_up.cancelled() => Interrupt::GivenUp,
            }
        });
        let traced = self.execution.begin(&request, claim.traceparent.as_deref());
        let traceparent = traced.traceparent.clone();
        let result = self.execution.run(traced, request.clone(), claim.remaining, interrupt).await;
        drop(slot);
        if let Some(result) = result {
            self.write(&request, result, Some(traceparent)).await;
        }
    }

    /// Renews the lease until there is no reason to go on. While the database is away nobody's lease is judged.
    async fn keep_lease(&self, key: &InboxKey) -> Interrupt {
        loop {
            tokio::time::sleep(self.lease / 3).await;
            match self.inbox.renew(key).await {
                // A late success still completes a task that has not ended.
                Ok(Renewed::Open | Renewed::Ended) => {}
                Ok(Renewed::Cancelled) => return Interrupt::Cancelled,
                Ok(Renewed::Lost) => return Interrupt::Lost,
                Err(error) => tracing::debug!(error = &error as &dyn std::error::Error, "a lease was not renewed"),
            }
        }
    }

    /// Writes the result, however long the database is away: the work is done and is not to be done again.
    async fn write(&self, request: &TaskRequest, result: TaskResult, traceparent: Option<String>) {
        let mut answer = Answer { events: self.inbox.take_events(result.task_id).await, result, fallbacks: 0 };
        let mut pause = Duration::from_millis(20);
        loop {
            match self.inbox.finish(&answer.result, &answer.events, traceparent.as_deref()).await {
                Ok(Finished::Written { late }) => {
                    tracing::debug!(task.id = %request.id, request.attempt, late, "the result is written");
                    self.finished.notify_one();
                    return;
                }
                Ok(Finished::Fenced) => {
                    tracing::warn!(task.id = %request.id, request.attempt, "the request was taken away; its result is lost");
                    return self.inbox.return_events(answer.events);
                }
                Err(error) if error.is_transient() => {
                    tracing::debug!(error = &error as &dyn std::error::Error, "the result waits for the database");
                    tokio::select! {
                        () = tokio::time::sleep(pause) => pause = (pause * 2).min(MAX_PAUSE),
                        () = self.abandon.cancelled() => {
                            tracing::error!(task.id = %request.id, request.attempt, "ending without having written a result");
                            return self.inbox.return_events(answer.events);
                        }
                    }
                }
                Err(error) => {
                    if !self.fall_back(request, &mut answer, &error) {
                        return;
                    }
                }
            }
        }
    }

    /// What cannot be written as it is, is written as far as it can be: without the events, which go their own
    /// way, then as a failure. False when not even that helps.
    fn fall_back(&self, request: &TaskRequest, answer: &mut Answer, error: &DbError) -> bool {
        let error: &dyn std::error::Error = error;
        tracing::error!(task.id = %request.id, request.attempt, error, "a result cannot be written as it is");
        self.inbox.return_events(std::mem::take(&mut answer.events));
        answer.fallbacks += 1;
        if answer.fallbacks == 2 {
            let message = "the agent's answer could not be stored".to_owned();
            let failure = TaskError { error_type: ErrorType::Unhandled, message };
            let usage: Usage = answer.result.usage;
            answer.result =
                TaskResult::new(request, &answer.result.agent_id, Err(failure), answer.result.duration_ms, usage);
        }
        answer.fallbacks <= 2
    }

    /// Answers what is queued in an inbox that dies with the process, so that nobody waits for it in vain.
    pub(super) async fn give_up_queue(&self) {
        if self.inbox.is_durable() {
            return;
        }
        while let Ok(claims) = self.inbox.claim(100).await {
            if claims.is_empty() {
                return;
            }
            for claim in claims {
                let result = self.execution.never_begun(&claim.request);
                self.write(&claim.request, result, None).await;
            }
        }
    }
}

struct Answer {
    result: TaskResult,
    events: Vec<Event>,
    fallbacks: u32,
}
