//! The orchestrator: accepts tasks, finds the best agent for each, dispatches, times, retries, and keeps what
//! came of it (messaging.md §3).
//!
//! All that must survive is in the database, in units of work that can be repeated ([`mesh_six_db::tasks`]);
//! this process only decides and moves things along. So any number of orchestrators share the work without a
//! leader, and one that starts goes on where the last one stopped.
//! Errors end as answers to the caller or the sidecar, so there are no error types of its own.

mod api;
mod census;
mod config;
mod dashboard;
mod engine;
pub mod metrics;
mod next;
mod outage;
mod probes;
mod relay;
mod results;
mod routing;
mod sweep;
mod timers;
mod waiters;

use std::sync::Arc;

use mesh_six_core::names::{ORCHESTRATOR, PUBSUB, TASK_RESULTS};
use mesh_six_db::{Database, events::EventLog};
use mesh_six_runtime::{Background, HealthState, Mqtt, Registry, Routes, ServiceInfo};
use mesh_six_sidecar::{BulkHandler, Sidecar, Subscription, subscription_router};
use tokio_util::sync::CancellationToken;

pub use api::{Accepted, AgentList, Scores, TaskPage, TaskView, openapi};
pub use config::{OrchestratorConfig, VARIABLES};
use engine::Engine;

/// What the orchestrator works with.
pub struct Deps {
    /// The database.
    pub db: Database,
    /// The event log in it.
    pub log: EventLog,
    /// Publishes requests and events.
    pub sidecar: Arc<dyn Sidecar>,
    /// Which agents there are.
    pub registry: Registry,
    /// Its settings.
    pub config: OrchestratorConfig,
    /// Descriptions of other services that share its port, for `openapi.json`.
    pub described: Vec<utoipa::openapi::OpenApi>,
    /// Tells the dashboard where tasks stand, if it is told anything.
    pub mqtt: Option<Mqtt>,
    /// Ends the waits of callers: at once with the service, or once what still drains has been answered.
    pub callers: CancellationToken,
}

/// A running orchestrator.
pub struct Orchestrator {
    /// Its routes: the public API, and what the sidecar calls.
    pub routes: Routes,
    /// For the shell.
    pub info: ServiceInfo,
    /// Ready while the database answers.
    pub health: HealthState,
    /// Relay, timers and sweeps; ends with the token given to [`start`].
    pub background: Background,
}

/// Starts relay, timers and sweeps, and makes the routes.
pub fn start(deps: Deps, shutdown: &CancellationToken) -> Orchestrator {
    mesh_six_runtime::metrics::describe(&metrics::METRICS);
    let Deps { db, log, sidecar, registry, config, described, mqtt, callers } = deps;
    let background = Background::new(shutdown);
    let health = HealthState::new();
    health.not_ready("database", "not asked yet");
    let app_token = config.app_token.clone();
    let (relay, lanes) = relay::new(&config);
    let engine = Arc::new(Engine::new(db, log, registry, config, relay, mqtt));
    lanes.spawn(&background, &engine, &sidecar);
    let (e, stop) = (Arc::clone(&engine), background.token());
    background.spawn_restarting("timers", move || timers::run(Arc::clone(&e), stop.clone()));
    let (e, told, stop) = (Arc::clone(&engine), health.clone(), background.token());
    background.spawn_restarting("sweep", move || sweep::run(Arc::clone(&e), told.clone(), stop.clone()));
    let (e, stop) = (Arc::clone(&engine), background.token());
    background.spawn_restarting("census", move || census::run(Arc::clone(&e), stop.clone()));
    let results: Arc<dyn BulkHandler> = Arc::new(results::Results::new(Arc::clone(&engine)));
    let subscription = Subscription::bulk(PUBSUB, TASK_RESULTS, "/results", 100, 10);
    let routes = Routes::new()
        .public(api::quick(&engine, described))
        .public_within(api::waiting(&engine, callers, background.token()), None)
        .delivered(subscription_router(vec![(subscription, results)], app_token));
    Orchestrator { routes, info: ServiceInfo::new(ORCHESTRATOR), health, background }
}
