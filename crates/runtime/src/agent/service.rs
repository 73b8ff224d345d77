//! Puts an agent's service together, runs it, and ends it in order.

use std::{sync::Arc, time::Duration};

use axum::Router;
use mesh_six_core::{EventSink, names, sink::NoEventLog};
use mesh_six_db::{
    Database,
    events::{DatabaseSink, EventLog},
};
use mesh_six_llm::ChatModel;
use mesh_six_sidecar::{Sidecar, Subscription, subscription_router};
use tokio::{
    sync::{Notify, Semaphore},
    task::JoinHandle,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    Agent, AgentConfig, AgentDefinition,
    deliveries::Deliveries,
    dependencies::Dependencies,
    execution::Execution,
    inbox::{DatabaseInbox, Inbox, MemoryInbox},
    invoke::{self, Invoke, Places},
    membership::Membership,
    metrics, progress,
    relay::Relay,
    worker::Worker,
};
use crate::{
    background::Background,
    http::{Auth, HealthState, Routes, ServiceInfo, shell},
    mqtt::Mqtt,
    registry::Registry,
};

/// Messages in one delivery of the agent's topic, and how long the sidecar waits for them (messaging.md §1).
const DELIVERY: (usize, u64) = (20, 5);
/// How often the inbox is counted and pruned.
const UPKEEP: Duration = Duration::from_secs(10);
/// At the end: for what was given up to be written, for results to be published, for events to be flushed.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// What an agent's service is given.
pub struct AgentDeps {
    /// The agent.
    pub agent: Arc<dyn Agent>,
    /// How it runs.
    pub config: AgentConfig,
    /// Its sidecar.
    pub sidecar: Arc<dyn Sidecar>,
    /// The registry that it is to be found in.
    pub registry: Registry,
    /// The model that it asks.
    pub model: Arc<dyn ChatModel>,
    /// The database; without one the inbox is in memory and there is no event log.
    pub database: Option<AgentDatabase>,
    /// Tells the dashboard that the agent is there, if it is told anything.
    pub mqtt: Option<Mqtt>,
}

/// The database of an agent.
#[derive(Clone)]
pub struct AgentDatabase {
    /// For the inbox.
    pub db: Database,
    /// Whose followers are told that a result is on record.
    pub log: EventLog,
    /// For model and tool calls.
    pub sink: Arc<DatabaseSink>,
}

/// A running agent.
pub struct AgentService {
    definition: Arc<AgentDefinition>,
    health: HealthState,
    /// `database` or `memory`, which is weaker and therefore said.
    inbox: &'static str,
    routes: Routes,
    ended: JoinHandle<()>,
}

impl AgentService {
    /// Starts the agent's background work; it registers once its sidecar delivers to it. Ends after `shutdown`.
    pub fn start(deps: AgentDeps, shutdown: CancellationToken) -> Self {
        crate::metrics::describe(&metrics::METRICS);
        let health = HealthState::new();
        let inbox = if deps.database.is_some() { "database" } else { "memory" };
        let definition = Arc::new(deps.config.apply(deps.agent.definition()).with_inbox(inbox));
        let parts = Parts::new(deps, definition.clone(), health.clone());
        let routes = Routes::new().delivered(parts.deliveries()).public_within(invoke::router(parts.invoke()), None);
        parts.membership.begin();
        if inbox == "memory" {
            let agent = definition.app_id.as_str();
            tracing::warn!(agent.id = agent, "no database: accepted requests die with the process, no event log");
        }
        let ended = tokio::spawn(parts.run(shutdown));
        Self { definition, health, inbox, routes, ended }
    }

    /// The app-id it runs under.
    pub fn app_id(&self) -> &str {
        &self.definition.app_id
    }

    /// Its health, for whoever watches something that the agent depends on.
    pub fn health(&self) -> HealthState {
        self.health.clone()
    }

    /// All its routes, in the shell that every service has.
    pub fn router(&self, auth: Auth) -> Router {
        let capabilities: Vec<&str> = self.definition.capabilities.iter().map(|c| c.name.as_str()).collect();
        let info = ServiceInfo::new(&self.definition.app_id)
            .with_field("agent", self.definition.app_id.clone())
            .with_field("name", self.definition.name.clone())
            .with_field("capabilities", capabilities)
            .with_field("memoryEnabled", false)
            .with_field("inbox", self.inbox);
        shell(info, self.routes.clone(), self.health.clone(), auth)
    }

    /// Waits until the agent has drained after its shutdown: everything in flight is answered or given up,
    /// the registry knows that it is offline, and its events are written as far as the database was there.
    pub async fn ended(self) {
        if let Err(error) = self.ended.await {
            tracing::error!(agent.id = self.definition.app_id, error = &error as &dyn std::error::Error, "crashed");
        }
    }
}

/// The parts of a service, wired together.
struct Parts {
    definition: Arc<AgentDefinition>,
    config: AgentConfig,
    health: HealthState,
    inbox: Arc<dyn Inbox>,
    sink: Option<Arc<DatabaseSink>>,
    worker: Worker,
    relay: Relay,
    membership: Membership,
    notes: progress::Publisher,
}

impl Parts {
    fn new(deps: AgentDeps, definition: Arc<AgentDefinition>, health: HealthState) -> Self {
        let AgentDeps { agent, config, sidecar, registry, model, database, mqtt } = deps;
        let (inbox, sink): (Arc<dyn Inbox>, Arc<dyn EventSink>) = match &database {
            Some(database) => {
                let inbox = DatabaseInbox::new(database.clone(), &definition.app_id, config.lease);
                (Arc::new(inbox), database.sink.clone())
            }
            None => (Arc::new(MemoryInbox::new(&definition.app_id)), Arc::new(NoEventLog)),
        };
        let (notes, publisher) = progress::notes(sidecar.clone());
        let execution = Arc::new(Execution {
            agent,
            definition: definition.clone(),
            model,
            sink: sink.clone(),
            notes,
            capture_content: config.capture_content,
            max_result_bytes: inbox.max_result_bytes(),
        });
        let (queued, finished) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let worker = Worker {
            inbox: inbox.clone(),
            execution,
            slots: Arc::new(Semaphore::new(definition.max_concurrency.clamp(1, Semaphore::MAX_PERMITS))),
            queued,
            finished: finished.clone(),
            in_work: TaskTracker::new(),
            poll: config.poll,
            lease: config.lease,
            give_up: CancellationToken::new(),
            abandon: CancellationToken::new(),
        };
        let relay = Relay { inbox: inbox.clone(), sidecar: sidecar.clone(), finished };
        let dependencies = Dependencies::new(definition.clone(), health.clone(), config.dependencies);
        let membership = Membership {
            definition: definition.clone(),
            registry,
            sidecar,
            sink,
            health: health.clone(),
            heartbeat: config.heartbeat,
            dependencies,
            mqtt,
        };
        let sink = database.map(|database| database.sink);
        Self { definition, config, health, inbox, sink, worker, relay, membership, notes: publisher }
    }

    fn deliveries(&self) -> Router {
        let (most, wait) = DELIVERY;
        let topic = names::task_topic(&self.definition.app_id);
        let handler = Deliveries {
            agent: self.definition.app_id.clone(),
            inbox: self.inbox.clone(),
            health: self.health.clone(),
            queued: self.worker.queued.clone(),
            finished: self.worker.finished.clone(),
        };
        let subscription = Subscription::bulk(names::PUBSUB, &topic, "/tasks", most, wait);
        subscription_router(vec![(subscription, Arc::new(handler))], self.config.app_token.clone())
    }

    fn invoke(&self) -> Invoke {
        Invoke {
            execution: self.worker.execution.clone(),
            slots: self.worker.slots.clone(),
            places: Places::new(self.definition.max_concurrency),
            health: self.health.clone(),
            in_work: self.worker.in_work.clone(),
            give_up: self.worker.give_up.clone(),
        }
    }

    /// Works until `shutdown`, then drains: no new work, offline for the orchestrator, what is in flight gets
    /// the grace period, what is left is given up as `unavailable`, and the results are published.
    async fn run(self, shutdown: CancellationToken) {
        let Self { definition, config, health, inbox, sink, worker, relay, membership, notes } = self;
        // The groups end one after the other, so none of them hangs on `shutdown` itself.
        let group = || Background::new(&CancellationToken::new());
        let (intake, output) = (group(), group());
        {
            let (worker, stop) = (worker.clone(), intake.token());
            intake.spawn_restarting("agent-worker", move || worker.clone().run(stop.clone()));
        }
        {
            let (dependencies, stop) = (membership.dependencies.clone(), intake.token());
            intake.spawn_restarting("agent-dependencies", move || dependencies.clone().run(stop.clone()));
        }
        {
            let stop = intake.token();
            intake.spawn_restarting("agent-membership", move || membership.clone().run(stop.clone()));
        }
        {
            let (agent, inbox, stop) = (definition.app_id.clone(), inbox.clone(), intake.token());
            intake.spawn_restarting("agent-upkeep", move || upkeep(agent.clone(), inbox.clone(), stop.clone()));
        }
        {
            let stop = output.token();
            output.spawn_restarting("agent-relay", move || relay.clone().run(stop.clone()));
        }
        output.spawn("agent-progress", notes.run(output.token()));

        shutdown.cancelled().await;
        health.draining();
        let grace = tokio::time::Instant::now() + config.grace;
        intake.stop(config.grace).await;
        worker.in_work.close();
        if tokio::time::timeout_at(grace, worker.in_work.wait()).await.is_err() {
            tracing::warn!(agent.id = definition.app_id, tasks = worker.in_work.len(), "giving up what is in flight");
        }
        worker.give_up.cancel();
        let given_up = async {
            worker.in_work.wait().await;
            worker.give_up_queue().await;
        };
        let _ = tokio::time::timeout(LAST_WORDS, given_up).await;
        worker.abandon.cancel();
        output.stop(LAST_WORDS).await;
        if let Some(sink) = sink {
            sink.flush(LAST_WORDS).await;
        }
        tracing::info!(agent.id = definition.app_id, "drained");
    }
}

/// Counts the queue and forgets what is old.
async fn upkeep(agent: String, inbox: Arc<dyn Inbox>, stop: CancellationToken) {
    loop {
        let kept = async {
            metrics::queued(&agent, inbox.queued().await?);
            inbox.prune().await
        };
        if let Err(error) = kept.await {
            tracing::debug!(agent.id = agent, error = &error as &dyn std::error::Error, "the inbox was not pruned");
        }
        tokio::select! {
            () = tokio::time::sleep(UPKEEP) => {}
            () = stop.cancelled() => return,
        }
    }
}
