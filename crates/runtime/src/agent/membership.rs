//! Being in the registry: registered once the sidecar delivers, alive by heartbeats, offline at the end.

use std::{sync::Arc, time::Duration};

use mesh_six_core::{
    EventSink,
    agent::{AgentRegistration, AgentStatus},
    event::catalogue,
    names::agent_status_topic,
};
use mesh_six_sidecar::Sidecar;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{AgentDefinition, dependencies::Dependencies};
use crate::{
    http::HealthState,
    mqtt::Mqtt,
    registry::{Registry, RegistryError},
};

/// The name of what readiness waits for.
const REGISTRATION: &str = "registration";
/// Pauses while waiting for the sidecar and the registry.
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const MAX_PAUSE: Duration = Duration::from_secs(1);
/// How long the registry may take to note that the agent leaves.
const LEAVING: Duration = Duration::from_secs(3);

/// The agent's place in the registry.
#[derive(Clone)]
pub(super) struct Membership {
    pub(super) definition: Arc<AgentDefinition>,
    pub(super) registry: Registry,
    pub(super) sidecar: Arc<dyn Sidecar>,
    pub(super) sink: Arc<dyn EventSink>,
    pub(super) health: HealthState,
    pub(super) heartbeat: Duration,
    /// What decides between online and degraded.
    pub(super) dependencies: Dependencies,
    /// Where the dashboard hears of it.
    pub(super) mqtt: Option<Mqtt>,
}

impl Membership {
    /// Not ready from the start.
    pub(super) fn begin(&self) {
        self.health.not_ready(REGISTRATION, "not registered yet");
        self.health.set_detail("registered", false);
    }

    /// Registers and keeps the record alive until `stop`, then marks the agent as offline.
    pub(super) async fn run(self, stop: CancellationToken) {
        // From before the first report, so that no change after it is missed.
        let status = self.dependencies.status();
        let registered = tokio::select! {
            () = self.join() => true,
            () = stop.cancelled() => false,
        };
        if registered {
            tokio::select! {
                () = self.beat(status) => {}
                () = stop.cancelled() => {}
            }
        }
        // Also after a registration that was cut off halfway.
        self.leave().await;
    }

    /// A message published before the subscriptions are made is lost, so nobody may know the agent before that.
    async fn join(&self) {
        let mut pause = FIRST_PAUSE;
        while !self.sidecar.subscribed().await {
            self.health.not_ready(REGISTRATION, "waiting for the sidecar");
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(MAX_PAUSE);
        }
        pause = FIRST_PAUSE;
        let mut warned = false;
        while let Err(error) = self.report().await {
            self.health.not_ready(REGISTRATION, "waiting for the registry");
            if !std::mem::replace(&mut warned, true) {
                let error: &dyn std::error::Error = &error;
                tracing::warn!(agent.id = self.definition.app_id, error, "not registered yet; trying on");
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(MAX_PAUSE);
        }
        self.health.ready(REGISTRATION);
        self.health.set_detail("registered", true);
        let checks: Vec<String> = self.definition.health_checks.keys().cloned().collect();
        self.sink.send(catalogue::agent_registered(&self.definition.app_id, &self.definition.capabilities, &checks));
        tracing::info!(agent.id = self.definition.app_id, "registered");
    }

    async fn beat(&self, mut status: watch::Receiver<AgentStatus>) {
        let mut missed = false;
        loop {
            let pause = if missed { self.heartbeat.min(MAX_PAUSE) } else { self.heartbeat };
            // A dependency that goes down or comes back is told at once.
            let _ = tokio::time::timeout(pause, status.changed()).await;
            match self.report().await {
                Ok(()) if std::mem::take(&mut missed) => {
                    tracing::info!(agent.id = self.definition.app_id, "the registry has the heartbeat again");
                }
                Ok(()) => {}
                Err(error) => {
                    if !std::mem::replace(&mut missed, true) {
                        let error: &dyn std::error::Error = &error;
                        tracing::warn!(agent.id = self.definition.app_id, error, "a heartbeat was not written");
                    }
                }
            }
        }
    }

    /// Registers, or renews the record, which is the same.
    async fn report(&self) -> Result<(), RegistryError> {
        let record = self.definition.registration(*self.dependencies.status().borrow());
        self.registry.register(&record).await?;
        self.tell(&record);
        Ok(())
    }

    /// Retained, so that a dashboard that is opened later knows the agent at once.
    fn tell(&self, record: &AgentRegistration) {
        if let Some(mqtt) = &self.mqtt {
            mqtt.publish(agent_status_topic(&record.app_id), record, true);
        }
    }

    async fn leave(&self) {
        let agent = &self.definition.app_id;
        let left = tokio::time::timeout(LEAVING, self.registry.mark_offline(agent)).await;
        if !matches!(left, Ok(Ok(()))) {
            // Its heartbeats stop, so the registry's readers find out within two minutes.
            tracing::warn!(agent.id = agent, "not marked as offline");
        }
        self.tell(&self.definition.registration(AgentStatus::Offline));
        self.sink.send(catalogue::agent_deregistered(agent, "shutdown"));
    }
}
