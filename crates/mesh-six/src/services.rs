//! Starts a service by its name: the one place that knows all of them.

use std::{sync::Arc, time::Duration};

use axum::Router;
use mesh_six_core::names::{EVENT_LOGGER, ORCHESTRATOR};
use mesh_six_db::{
    Database,
    events::{DatabaseSink, EventLog},
};
use mesh_six_event_logger::{self as event_logger, EventLogger, EventLoggerConfig};
use mesh_six_llm::ChatModel;
use mesh_six_orchestrator::{self as orchestrator, Orchestrator, OrchestratorConfig};
use mesh_six_runtime::{
    HealthState, Mqtt, MqttSettings, ProcessEnv, Registry, Routes,
    agent::{AgentConfig, AgentDatabase, AgentDeps, AgentService},
    http::Auth,
    shell,
};
use mesh_six_sidecar::Sidecar;
use tokio_util::sync::CancellationToken;

use crate::exit::Exit;

/// How long a service's background work may take to end.
const STOP: Duration = Duration::from_secs(10);

/// The database with its log, for everybody in the process.
#[derive(Clone)]
pub(crate) struct Storage {
    pub(crate) db: Database,
    pub(crate) log: EventLog,
    pub(crate) sink: Arc<DatabaseSink>,
}

impl Storage {
    /// Opens the log in `db`.
    pub(crate) fn open(db: Database) -> Self {
        let log = EventLog::start(db.clone());
        let sink = DatabaseSink::start(log.clone());
        Self { db, log, sink }
    }

    /// Writes what is pending, within a bound, and closes the connections.
    pub(crate) async fn close(self) {
        self.sink.close().await;
        self.log.close().await;
        self.db.close();
    }
}

/// How long messages for the dashboard may take to go out at the end.
const LAST_MESSAGES: Duration = Duration::from_secs(2);

/// A connection to the dashboard's broker, if one is named.
pub(crate) fn mqtt() -> anyhow::Result<Option<Mqtt>> {
    let settings = MqttSettings::from_env(&ProcessEnv).map_err(|e| Exit::usage(e.to_string()))?;
    Ok(settings.as_ref().map(Mqtt::start))
}

/// Sends what is still to be told, within a bound.
pub(crate) async fn close(mqtt: Option<Mqtt>) {
    if let Some(mqtt) = mqtt {
        mqtt.close(LAST_MESSAGES).await;
    }
}

/// What services are made of.
#[derive(Clone)]
pub(crate) struct Parts {
    /// The database; agents also work without one.
    pub(crate) storage: Option<Storage>,
    /// The model of the agents; only they need one.
    pub(crate) model: Option<Arc<dyn ChatModel>>,
    pub(crate) agent: AgentConfig,
    pub(crate) orchestrator: OrchestratorConfig,
    /// For the dashboard, if `MQTT_URL` is set.
    pub(crate) mqtt: Option<Mqtt>,
    pub(crate) event_logger: EventLoggerConfig,
    /// Ends the waits of the orchestrator's callers.
    pub(crate) callers: CancellationToken,
}

/// A running service.
pub(crate) enum Service {
    Orchestrator(Orchestrator),
    EventLogger(EventLogger),
    Agent(AgentService),
}

impl Service {
    /// Starts the service called `name` in services.toml.
    pub(crate) fn start(
        name: &str,
        parts: &Parts,
        sidecar: Arc<dyn Sidecar>,
        shutdown: &CancellationToken,
    ) -> anyhow::Result<Self> {
        let registry = Registry::new(Arc::clone(&sidecar));
        let storage = || parts.storage.clone().ok_or_else(|| Exit::usage(format!("{name} needs DATABASE_URL")));
        match name {
            ORCHESTRATOR => {
                let Storage { db, log, .. } = storage()?;
                let deps = orchestrator::Deps {
                    db,
                    log,
                    sidecar,
                    registry,
                    config: parts.orchestrator.clone(),
                    described: vec![event_logger::openapi()],
                    mqtt: parts.mqtt.clone(),
                    callers: parts.callers.clone(),
                };
                Ok(Self::Orchestrator(orchestrator::start(deps, shutdown)))
            }
            EVENT_LOGGER => {
                let Storage { db, log, .. } = storage()?;
                let app_token = parts.orchestrator.app_token.clone();
                let deps = event_logger::Deps { db, log, app_token, config: parts.event_logger };
                Ok(Self::EventLogger(event_logger::start(deps, shutdown)))
            }
            _ => {
                let agent = mesh_six_agents::find(name).ok_or_else(|| {
                    Exit::usage(format!("{name} is not built yet; `mesh-six services` lists what is"))
                })?;
                let model = parts.model.clone().ok_or_else(|| Exit::usage(format!("{name} needs a model")))?;
                let database = parts.storage.clone().map(|s| AgentDatabase { db: s.db, log: s.log, sink: s.sink });
                let config = parts.agent.clone();
                let mqtt = parts.mqtt.clone();
                let deps = AgentDeps { agent, config, sidecar, registry, model, database, mqtt };
                Ok(Self::Agent(AgentService::start(deps, shutdown.clone())))
            }
        }
    }

    /// All its routes in their shell.
    pub(crate) fn router(&self, auth: Auth) -> Router {
        match self {
            Self::Orchestrator(s) => shell(s.info.clone(), s.routes.clone(), s.health.clone(), auth),
            Self::EventLogger(s) => shell(s.info.clone(), s.routes.clone(), s.health.clone(), auth),
            Self::Agent(s) => s.router(auth),
        }
    }

    /// Its part of the public API, where several services share a port.
    pub(crate) fn public(&self) -> Option<&Routes> {
        match self {
            Self::Orchestrator(s) => Some(&s.routes),
            Self::EventLogger(s) => Some(&s.routes),
            Self::Agent(_) => None,
        }
    }

    /// Whether `/readyz` answers 200, and why not.
    pub(crate) fn health(&self) -> HealthState {
        match self {
            Self::Orchestrator(s) => s.health.clone(),
            Self::EventLogger(s) => s.health.clone(),
            Self::Agent(s) => s.health(),
        }
    }

    /// Waits until it has drained after its shutdown.
    pub(crate) async fn ended(self) {
        match self {
            Self::Orchestrator(s) => drop(s.background.stop(STOP).await),
            Self::EventLogger(s) => drop(s.background.stop(STOP).await),
            Self::Agent(s) => s.ended().await,
        }
    }
}
