//! Whether what an agent depends on is well: its health checks, asked at most once every few seconds and not too many
//! at once.
//!
//! The registry's content comes from agents, so a check may only name a host that is allowed: the agent itself,
//! the mesh's own services, what the operator listed, and this machine where that is switched on.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use futures_util::{
    FutureExt,
    future::{BoxFuture, Shared, join_all},
};
use mesh_six_core::agent::{AgentCapability, AgentRegistration, MAX_LISTED};
use reqwest::{Client, Url, redirect::Policy};
use tokio::sync::Semaphore;

use crate::config::OrchestratorConfig;

/// Answers kept at most; agents decide how many checks they have. A check beyond them is not asked, since nobody would
/// remember that it was, and every task would ask it again.
const MAX_KEPT: usize = 1_024;
/// Checks asked at once: more than one agent may have, so that one whose checks hang does not take every turn.
const AT_ONCE: usize = 2 * MAX_LISTED;
/// The domain of the mesh's services in the cluster.
const MESH_DOMAINS: [&str; 3] = [".mesh-six", ".mesh-six.svc", ".mesh-six.svc.cluster.local"];

/// Asks health checks and remembers their answers for a while.
pub(crate) struct Probes {
    client: Option<Client>,
    hosts: Vec<String>,
    loopback: bool,
    timeout: Duration,
    keep: Duration,
    kept: Mutex<HashMap<String, Probe>>,
    turns: Arc<Semaphore>,
}

/// A probe under way or answered; everyone who asks meanwhile shares it.
struct Probe {
    begun: Instant,
    healthy: Shared<BoxFuture<'static, bool>>,
}

impl Probes {
    pub(crate) fn new(config: &OrchestratorConfig) -> Self {
        // A second call finds the provider installed, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = Client::builder()
            .timeout(config.probe_timeout)
            .connect_timeout(config.probe_timeout)
            .redirect(Policy::none())
            .build()
            .inspect_err(|error| {
                let error: &dyn std::error::Error = error;
                tracing::error!(error, "health checks cannot be asked; what needs them counts as unhealthy");
            })
            .ok();
        Self {
            client,
            hosts: config.probe_hosts.clone(),
            loopback: config.probe_loopback,
            timeout: config.probe_timeout,
            keep: config.probe_cache,
            kept: Mutex::default(),
            turns: Arc::new(Semaphore::new(AT_ONCE)),
        }
    }

    /// Whether all requirements of `capability` that have a health check are well; asked at the same time.
    pub(crate) async fn all_well(&self, agent: &AgentRegistration, capability: &AgentCapability) -> bool {
        let urls = capability.requirements.iter().filter_map(|name| agent.health_checks.get(name));
        let asked = urls.map(|url| self.is_well(&agent.app_id, url));
        join_all(asked).await.into_iter().all(|well| well)
    }

    async fn is_well(&self, app_id: &str, url: &str) -> bool {
        let Some(url) = self.allowed(app_id, url) else {
            tracing::warn!(agent.id = app_id, "a health check names a host that may not be probed");
            return false;
        };
        self.probe(url).await
    }

    fn allowed(&self, app_id: &str, url: &str) -> Option<Url> {
        let url = Url::parse(url).ok()?;
        let plain = matches!(url.scheme(), "http" | "https") && url.username().is_empty() && url.password().is_none();
        let host = url.host_str()?.trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase();
        let local =
            || host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback());
        let known = host == app_id
            || MESH_DOMAINS.iter().any(|domain| host.strip_suffix(domain).is_some_and(|name| !name.is_empty()))
            || self.hosts.contains(&host)
            || (self.loopback && local());
        (plain && known).then_some(url)
    }

    async fn probe(&self, url: Url) -> bool {
        let healthy = {
            let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
            let now = Instant::now();
            kept.retain(|_, probe| now.duration_since(probe.begun) < self.keep);
            if let Some(probe) = kept.get(url.as_str()) {
                probe.healthy.clone()
            } else if kept.len() < MAX_KEPT {
                let healthy = self.begin(url.clone());
                kept.insert(url.into(), Probe { begun: now, healthy: healthy.clone() });
                healthy
            } else {
                tracing::warn!("too many health checks to ask; this one counts as unhealthy");
                return false;
            }
        };
        healthy.await
    }

    /// Asks on its own, so that a caller that goes away does not keep the turn. Waiting for the turn is part of the time
    /// that a probe may take: a task must not wait for the checks of others.
    fn begin(&self, url: Url) -> Shared<BoxFuture<'static, bool>> {
        let (client, turns) = (self.client.clone(), self.turns.clone());
        let in_turn = async move {
            let _turn = turns.acquire().await;
            ask(client, url).await
        };
        let asked = tokio::spawn(tokio::time::timeout(self.timeout, in_turn));
        asked.map(|answer| matches!(answer, Ok(Ok(true)))).boxed().shared()
    }
}

async fn ask(client: Option<Client>, url: Url) -> bool {
    let Some(client) = client else { return false };
    client.get(url).send().await.is_ok_and(|answer| answer.status().is_success())
}

#[cfg(test)]
mod tests;
