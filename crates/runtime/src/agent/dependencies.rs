//! What an agent depends on, asked in the background: shown in `/healthz`, and in the registry as degraded.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use futures_util::future::join_all;
use mesh_six_core::agent::AgentStatus;
use reqwest::{Client, redirect::Policy};
use serde_json::Value;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::AgentDefinition;
use crate::http::HealthState;

/// How long a dependency may take to answer; as long as the orchestrator's probes give it.
const ANSWER: Duration = Duration::from_secs(3);
/// What the dependencies are shown as.
const DETAIL: &str = "dependencies";

/// The agent's health checks and what they said last.
#[derive(Clone)]
pub(super) struct Dependencies {
    definition: Arc<AgentDefinition>,
    health: HealthState,
    every: Duration,
    /// Kept here as well, so that whoever watches it never sees it closed.
    status: Arc<watch::Sender<AgentStatus>>,
}

impl Dependencies {
    /// Well until somebody has looked. Asks anew `every` so often.
    pub(super) fn new(definition: Arc<AgentDefinition>, health: HealthState, every: Duration) -> Self {
        Self { definition, health, every, status: Arc::new(watch::Sender::new(AgentStatus::Online)) }
    }

    /// Online, or degraded while a dependency is down.
    pub(super) fn status(&self) -> watch::Receiver<AgentStatus> {
        self.status.subscribe()
    }

    /// Asks until `stop`; returns at once where there is nothing to ask.
    pub(super) async fn run(self, stop: CancellationToken) {
        if self.definition.health_checks.is_empty() {
            return;
        }
        // A second call finds the provider installed, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = match Client::builder().timeout(ANSWER).redirect(Policy::none()).build() {
            Ok(client) => client,
            Err(error) => {
                let error: &dyn std::error::Error = &error;
                tracing::error!(agent.id = self.definition.app_id, error, "dependencies cannot be asked");
                return;
            }
        };
        loop {
            tokio::select! {
                answers = self.ask(&client) => self.tell(&answers),
                () = stop.cancelled() => return,
            }
            tokio::select! {
                () = tokio::time::sleep(self.every) => {}
                () = stop.cancelled() => return,
            }
        }
    }

    /// All at once; whether each is well.
    async fn ask(&self, client: &Client) -> BTreeMap<String, bool> {
        join_all(self.definition.health_checks.iter().map(async |(name, url)| {
            let well = client.get(url).send().await.is_ok_and(|answer| answer.status().is_success());
            (name.clone(), well)
        }))
        .await
        .into_iter()
        .collect()
    }

    fn tell(&self, answers: &BTreeMap<String, bool>) {
        let shown = answers.iter().map(|(name, well)| (name.clone(), if *well { "ok" } else { "down" }.into()));
        self.health.set_detail(DETAIL, Value::Object(shown.collect()));
        let down: Vec<_> = answers.iter().filter(|(_, well)| !**well).map(|(name, _)| name.as_str()).collect();
        let status = if down.is_empty() { AgentStatus::Online } else { AgentStatus::Degraded };
        let changed = self.status.send_if_modified(|known| std::mem::replace(known, status) != status);
        match status {
            AgentStatus::Degraded if changed => {
                tracing::warn!(agent.id = self.definition.app_id, down = down.join(", "), "degraded");
            }
            _ if changed => tracing::info!(agent.id = self.definition.app_id, "all dependencies are well again"),
            _ => {}
        }
    }
}
