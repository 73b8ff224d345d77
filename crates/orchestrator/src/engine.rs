//! What all parts of the orchestrator share, and what follows from a change of a task.

use std::{
    future::pending,
    sync::atomic::AtomicBool,
    time::{Duration, Instant},
};

use mesh_six_core::{
    span::set_parent,
    task::{TaskResult, TaskStatus},
};
use mesh_six_db::{
    Database, DbResult,
    events::EventLog,
    inbox::InboxKey,
    outbox::{Claimant, Outgoing},
    tasks::{self, Change, Due, Task, Verdict},
};
use mesh_six_runtime::{HttpError, Mqtt, Registry};
use tokio::{sync::Notify, time::timeout};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, Span, field};
use uuid::Uuid;

use crate::{
    config::OrchestratorConfig,
    dashboard, metrics,
    next::{Next, next},
    relay::Relay,
    routing::Routing,
    waiters::Waiters,
};

/// How often a waiting caller's task is looked up, for ends that another orchestrator brought about.
const LOOK_UP: Duration = Duration::from_millis(500);
/// How soon a task is looked at again when the registry cannot be read.
const REGISTRY_PAUSE: Duration = Duration::from_secs(1);

/// The orchestrator's shared parts.
pub(crate) struct Engine {
    pub(crate) db: Database,
    /// Its followers are woken after each commit.
    pub(crate) log: EventLog,
    pub(crate) registry: Registry,
    pub(crate) routing: Routing,
    pub(crate) relay: Relay,
    pub(crate) waiters: Waiters,
    /// Wakes the timers.
    pub(crate) due: Notify,
    /// Under which this process claims tasks and messages.
    pub(crate) claimant: Claimant,
    pub(crate) config: OrchestratorConfig,
    /// The database does not answer: a machine that stands still, or a network that is cut. A statement would wait for
    /// good, so nothing new is begun.
    pub(crate) hangs: AtomicBool,
    /// For the dashboard, if it is told anything.
    mqtt: Option<Mqtt>,
    begun: Instant,
}

impl Engine {
    pub(crate) fn new(
        db: Database,
        log: EventLog,
        registry: Registry,
        config: OrchestratorConfig,
        relay: Relay,
        mqtt: Option<Mqtt>,
    ) -> Self {
        Self {
            routing: Routing::new(registry.clone(), db.clone(), config.clone()),
            waiters: Waiters::new(config.max_waiting),
            claimant: relay.claimant(),
            due: Notify::new(),
            begun: Instant::now(),
            hangs: AtomicBool::new(false),
            db,
            log,
            registry,
            relay,
            config,
            mqtt,
        }
    }

    /// Lets everyone know who has to act on `change` of `task`.
    pub(crate) fn follow(&self, task: Uuid, change: Change) -> Verdict {
        metrics::changed(&change);
        if !matches!(change.verdict, Verdict::Unchanged | Verdict::Unknown) {
            if let (Some(mqtt), Some(failed)) = (&self.mqtt, &change.failed) {
                dashboard::attempt_failed(mqtt, task, &change.capability, failed);
            }
            self.committed(&change.capability, change.outgoing);
        }
        if change.verdict.is_end() {
            self.waiters.wake(task);
        }
        if change.verdict == Verdict::Retry {
            self.due.notify_one();
        }
        change.verdict
    }

    /// Passes on what a transaction has written about a task that asks for `capability`: messages to the relay,
    /// events to whoever follows the log, changes to the dashboard.
    pub(crate) fn committed(&self, capability: &str, outgoing: Vec<Outgoing>) {
        if let Some(mqtt) = &self.mqtt {
            dashboard::committed(mqtt, capability, &outgoing);
        }
        self.relay.hand_over(outgoing);
        self.log.wake();
    }

    /// Takes over the answer that `key` names; see [`tasks::accept`]. `traceparent` names the span that brought it.
    pub(crate) async fn accept(
        &self,
        key: &InboxKey,
        message: Option<&TaskResult>,
        believe: bool,
        traceparent: Option<&str>,
    ) -> DbResult<Verdict> {
        let span = tracing::info_span!(
            "accept_result",
            otel.status_code = field::Empty,
            task.id = %key.task_id,
            task.attempt = key.attempt,
            agent.id = key.agent_id,
            task.verdict = field::Empty,
        );
        if let Some(traceparent) = traceparent {
            set_parent(&span, traceparent);
        }
        let accepting = async {
            let verdict = self.take_over(key, message, believe).await;
            let span = Span::current();
            match &verdict {
                Ok(verdict) => span.record("task.verdict", metrics::result(*verdict)),
                Err(_) => span.record("otel.status_code", "ERROR"),
            };
            verdict
        };
        accepting.instrument(span).await
    }

    async fn take_over(&self, key: &InboxKey, message: Option<&TaskResult>, believe: bool) -> DbResult<Verdict> {
        let mut conn = self.db.conn().await?;
        let change = tasks::accept(&mut conn, key, message, believe, self.claimant).await?;
        drop(conn);
        let verdict = self.follow(key.task_id, change);
        if let Verdict::Rejected(reason) = verdict {
            let (attempt, agent) = (key.attempt, &key.agent_id);
            let reason = reason.as_str();
            tracing::warn!(task.id = %key.task_id, task.attempt = attempt, agent.id = agent, reason, "result rejected");
        }
        Ok(verdict)
    }

    /// Does what is due for a task that this process has claimed.
    pub(crate) async fn act(&self, due: &Due) -> DbResult<()> {
        let (id, attempts) = (due.task.task_id, due.task.attempts);
        if due.task.status == TaskStatus::Dispatched {
            let mut conn = self.db.conn().await?;
            let change = tasks::expire(&mut conn, id, attempts, self.claimant).await?;
            drop(conn);
            self.follow(id, change);
            return Ok(());
        }
        let step = match self.routing.scores(&due.task.capability).await {
            Ok(cards) => next(&due.task, due.rested, &cards, self.settling(), &self.config),
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, task.id = %id, "the next attempt waits");
                Next::Wait(REGISTRY_PAUSE)
            }
        };
        let mut conn = self.db.conn().await?;
        match step {
            Next::Wait(pause) => tasks::postpone(&mut conn, id, attempts, pause).await?,
            Next::GiveUp => {
                let change = tasks::give_up(&mut conn, id, attempts, self.claimant).await?;
                drop(conn);
                self.follow(id, change);
            }
            Next::Dispatch(to) => {
                let sent = tasks::redispatch(&mut conn, id, attempts, &to, self.claimant).await?;
                drop(conn);
                if let Some(outgoing) = sent {
                    tracing::info!(task.id = %id, task.attempt = attempts + 1, agent.id = to.agent, "next attempt");
                    self.committed(&due.task.capability, outgoing);
                }
            }
        }
        Ok(())
    }

    /// Whether agents may still be coming back after a start of everything.
    fn settling(&self) -> bool {
        self.begun.elapsed() < self.config.patience
    }

    /// The task, once it has ended or `wait` has passed or the service ends; `None` if there is no such task. Whom
    /// nobody can wake, since too many wait, is answered by the look-ups alone.
    pub(crate) async fn wait_for_end(
        &self,
        task: Uuid,
        wait: Duration,
        stop: &CancellationToken,
    ) -> Result<Option<Task>, HttpError> {
        let until = Instant::now() + wait;
        let waiter = if wait.is_zero() { None } else { self.waiters.join(task) };
        loop {
            // Made before the look, so that an end in between is not missed.
            let ended = waiter.as_ref().map(|waiter| waiter.ended.notified());
            let mut ended = std::pin::pin!(ended);
            if let Some(ended) = ended.as_mut().as_pin_mut() {
                ended.enable();
            }
            let found = tasks::get(&mut *self.db.conn().await?, task).await?;
            let left = until.saturating_duration_since(Instant::now());
            let over = left.is_zero() || stop.is_cancelled();
            if over || found.as_ref().is_none_or(|task| task.summary.status.is_final()) {
                return Ok(found);
            }
            let ended = async {
                match ended.as_pin_mut() {
                    Some(ended) => ended.await,
                    None => pending().await,
                }
            };
            let woken = async {
                tokio::select! {
                    () = ended => {}
                    () = stop.cancelled() => {}
                }
            };
            let _ = timeout(left.min(LOOK_UP), woken).await;
        }
    }
}
