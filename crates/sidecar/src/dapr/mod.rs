//! A real Dapr sidecar, by its HTTP API.
//!
//! Written against Dapr 1.18; what it loses, doubles and holds up is why services keep their facts in the database
//! first. Where it differs from the local mesh: ARCHITECTURE.md, "Adapters of the sidecar port".

mod backoff;
mod client;
mod config;
mod invoke;
mod publish;
mod state;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use serde_json::Value;

pub use config::{DaprConfig, DaprConfigError};

use crate::port::{Condition, Invoked, Message, Sidecar, SidecarError, StateEntry};
use client::{Api, send};

/// How long a question about the sidecar's health may take.
const HEALTH_TIMEOUT: Duration = Duration::from_secs(2);

/// The Dapr sidecar of one app.
pub struct DaprSidecar {
    api: Api,
    app_id: String,
    pubsub: String,
    state_store: String,
    publish_wait: Duration,
}

impl DaprSidecar {
    /// Checks the configuration; does not connect yet, since a sidecar may start after its app.
    pub fn new(config: DaprConfig) -> Result<Arc<Self>, DaprConfigError> {
        if config.app_id.is_empty() {
            return Err(DaprConfigError::AppId);
        }
        let api = Api::new(&config)?;
        let DaprConfig { app_id, pubsub, state_store, publish_wait, .. } = config;
        Ok(Arc::new(Self { api, app_id, pubsub, state_store, publish_wait }))
    }

    async fn is_well(&self, path: &str) -> bool {
        send(self.api.get(path), HEALTH_TIMEOUT).await.is_ok_and(|answer| answer.status == 204)
    }
}

#[async_trait]
impl Sidecar for DaprSidecar {
    fn app_id(&self) -> &str {
        &self.app_id
    }

    async fn publish(&self, message: Message) -> Result<(), SidecarError> {
        self.publish_one(message).await
    }

    async fn republish(&self, topic: &str, event: &[u8]) -> Result<(), SidecarError> {
        self.publish_again(topic, event).await
    }

    async fn publish_bulk(&self, messages: Vec<Message>) -> Vec<Result<(), SidecarError>> {
        self.publish_many(messages).await
    }

    async fn get_state(&self, key: &str) -> Result<Option<StateEntry>, SidecarError> {
        self.read(key).await
    }

    async fn get_state_bulk(&self, keys: &[String]) -> Result<Vec<Option<StateEntry>>, SidecarError> {
        self.read_many(keys).await
    }

    async fn set_state(
        &self,
        key: &str,
        value: Value,
        condition: Condition,
        ttl: Option<Duration>,
    ) -> Result<(), SidecarError> {
        self.write(key, value, condition, ttl).await
    }

    async fn delete_state(&self, key: &str) -> Result<(), SidecarError> {
        self.remove(key).await
    }

    async fn invoke(
        &self,
        app_id: &str,
        path: &str,
        body: Value,
        traceparent: Option<&str>,
        timeout: Duration,
    ) -> Result<Invoked, SidecarError> {
        self.call(app_id, path, &body, traceparent, timeout).await
    }

    async fn outbound_ready(&self) -> bool {
        self.is_well("healthz/outbound").await
    }

    async fn subscribed(&self) -> bool {
        self.is_well("healthz").await
    }
}
