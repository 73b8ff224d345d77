//! The services of `up`, on the local mesh, behind one port.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use axum::Router;
use mesh_six_core::roster::SERVICES;
use mesh_six_db::Database;
use mesh_six_event_logger::EventLoggerConfig;
use mesh_six_llm::ChatModel;
use mesh_six_orchestrator::OrchestratorConfig;
use mesh_six_runtime::{
    Env, HealthState, Mqtt, ProcessEnv, Routes, Secret, ServiceInfo, agent::AgentConfig, config, http::Auth, shell,
};
use mesh_six_sidecar::{LocalMesh, MeshConfig};
use tokio_util::sync::CancellationToken;

use crate::{
    exit::Exit,
    services::{self, Parts, Service, Storage},
};

/// How long `up` waits for its services before it says that it is up; they go on becoming ready afterwards.
const READY: Duration = Duration::from_secs(30);

/// All services that are built, running.
pub(crate) struct LocalServices {
    mesh: LocalMesh,
    storage: Storage,
    mqtt: Option<Mqtt>,
    services: Vec<(&'static str, Service)>,
    health: HealthState,
    api_token: Option<Secret>,
    /// Ends the waits of those who wait for the end of a task.
    callers: CancellationToken,
}

impl LocalServices {
    /// Starts them and begins to deliver. Subscribers are attached before anybody publishes for long: what comes
    /// earlier waits in the outbox.
    pub(crate) async fn start(
        db: Database,
        model: Arc<dyn ChatModel>,
        capture_content: bool,
        without: &[String],
        shutdown: &CancellationToken,
    ) -> anyhow::Result<Self> {
        let api_token = ProcessEnv.get("API_TOKEN").map(Secret::new);
        let token = api_token.as_ref().map(|t| t.expose().to_owned());
        let mesh = LocalMesh::with_config(MeshConfig { api_token: token, ..MeshConfig::default() });
        let delivery_token = Some(mesh.app_token().to_owned());
        let orchestrator = OrchestratorConfig::from_env(&ProcessEnv, delivery_token.clone())
            .map_err(|e| Exit::usage(e.to_string()))?;
        // Everything is on this machine here, what agents depend on too.
        let orchestrator = OrchestratorConfig { probe_loopback: true, ..orchestrator };
        let mqtt = services::mqtt()?;
        let event_logger = EventLoggerConfig::from_env(&ProcessEnv).map_err(|e| Exit::usage(e.to_string()))?;
        let grace = config::drain(&ProcessEnv).map_err(|e| Exit::usage(e.to_string()))?;
        let (storage, callers) = (Storage::open(db), CancellationToken::new());
        let parts = Parts {
            storage: Some(storage.clone()),
            model: Some(model),
            agent: AgentConfig { app_token: delivery_token, capture_content, grace, ..AgentConfig::default() },
            orchestrator,
            mqtt: mqtt.clone(),
            event_logger,
            callers: callers.clone(),
        };
        let mut services = Vec::new();
        for service in SERVICES.iter().filter(|s| s.built && !without.iter().any(|w| w == s.name)) {
            let running = Service::start(service.name, &parts, mesh.sidecar(service.name), shutdown)?;
            mesh.attach(service.name, running.router(Auth::internal())).await?;
            services.push((service.name, running));
        }
        let health = HealthState::new();
        for (name, service) in &services {
            health.depends_on(*name, service.health());
        }
        Ok(Self { mesh, storage, mqtt, services, health, api_token, callers })
    }

    /// The public API of all services, and each service's own routes under `/_svc/{app-id}/`.
    pub(crate) fn router(&self, address: SocketAddr) -> anyhow::Result<Router> {
        let mut routes = Routes::new();
        for (name, service) in &self.services {
            if let Some(public) = service.public() {
                routes = routes.with_public_of(public);
            }
            let own = Router::new().nest_service(&format!("/_svc/{name}"), service.router(Auth::internal()));
            routes = routes.public_within(own, None);
        }
        let auth = Auth::for_listener(address, self.api_token.clone(), None, false)?;
        Ok(shell(ServiceInfo::new("mesh-six"), routes, self.health.clone(), auth))
    }

    /// Waits until every service is ready.
    pub(crate) async fn ready(&self) {
        let all = async {
            while !self.services.iter().all(|(_, s)| s.health().is_ready()) {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        if tokio::time::timeout(READY, all).await.is_err() {
            let late: Vec<_> =
                self.services.iter().filter(|(_, s)| !s.health().is_ready()).map(|(name, _)| *name).collect();
            tracing::warn!(services = late.join(", "), "not ready yet");
        }
    }

    /// After the shutdown token: agents drain first, while the others still take their results and tell who waits for
    /// them; then the queues.
    pub(crate) async fn stop(self) {
        self.health.draining();
        let (agents, others): (Vec<_>, Vec<_>) =
            self.services.into_iter().partition(|(_, s)| matches!(s, Service::Agent(_)));
        for (_, agent) in agents {
            agent.ended().await;
        }
        self.callers.cancel();
        for (_, service) in others {
            service.ended().await;
        }
        self.mesh.shutdown().await;
        services::close(self.mqtt).await;
        self.storage.close().await;
    }
}
