//! The port of one app to the local mesh.

use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::join_all;
use http::{HeaderValue, Method, header};
use serde_json::Value;
use tokio::time::Instant;
use tracing::Span;

use super::{
    LocalMesh,
    call::{CallError, TRACEPARENT, call},
};
use crate::{
    limits::check_key,
    port::{Condition, Invoked, Message, Sidecar, SidecarError, StateEntry},
    spans,
};

/// What spans call the system that messages go through.
const SYSTEM: &str = "local";

/// The sidecar of one app.
pub(super) struct LocalSidecar {
    pub(super) app_id: String,
    pub(super) mesh: LocalMesh,
}

#[async_trait]
impl Sidecar for LocalSidecar {
    fn app_id(&self) -> &str {
        &self.app_id
    }

    async fn publish(&self, message: Message) -> Result<(), SidecarError> {
        let outcomes = self.publish_bulk(vec![message]).await;
        outcomes.into_iter().collect()
    }

    async fn republish(&self, topic: &str, event: &[u8]) -> Result<(), SidecarError> {
        let deadline = Instant::now() + self.mesh.config.publish_wait;
        self.mesh.broker.admit_again(topic, event, deadline).await?.settled(deadline).await
    }

    async fn publish_bulk(&self, mut messages: Vec<Message>) -> Vec<Result<(), SidecarError>> {
        let spans: Vec<Span> = messages.iter_mut().map(|message| spans::publish(SYSTEM, message)).collect();
        let deadline = Instant::now() + self.mesh.config.publish_wait;
        let mut admitted = Vec::with_capacity(messages.len());
        // One after the other, so that they are queued in their order.
        for message in messages {
            admitted.push(self.mesh.broker.admit(&self.app_id, message, deadline).await);
        }
        let settled = admitted.into_iter().map(|admitted| async move { admitted?.settled(deadline).await });
        let outcomes = join_all(settled).await;
        spans.iter().zip(&outcomes).for_each(|(span, outcome)| spans::published(span, outcome));
        outcomes
    }

    async fn get_state(&self, key: &str) -> Result<Option<StateEntry>, SidecarError> {
        check_key(key)?;
        Ok(self.mesh.state.get(key))
    }

    async fn get_state_bulk(&self, keys: &[String]) -> Result<Vec<Option<StateEntry>>, SidecarError> {
        keys.iter().try_for_each(|key| check_key(key))?;
        Ok(keys.iter().map(|key| self.mesh.state.get(key)).collect())
    }

    async fn set_state(
        &self,
        key: &str,
        value: Value,
        condition: Condition,
        ttl: Option<Duration>,
    ) -> Result<(), SidecarError> {
        self.mesh.state.set(key, value, &condition, ttl)
    }

    async fn delete_state(&self, key: &str) -> Result<(), SidecarError> {
        self.mesh.state.delete(key)
    }

    async fn invoke(
        &self,
        app_id: &str,
        path: &str,
        body: Value,
        traceparent: Option<&str>,
        timeout: Duration,
    ) -> Result<Invoked, SidecarError> {
        let Some(router) = self.mesh.apps.router(app_id) else {
            return Err(SidecarError::Refused { status: 404, message: format!("there is no app {app_id}") });
        };
        // Dapr shows the app's token on invocation too; the bearer token is for the routes of the public API.
        let mut headers = self.mesh.apps.headers();
        let bearer = self.mesh.config.api_token.as_ref().map(|token| format!("Bearer {token}"));
        let extra = [(header::AUTHORIZATION, bearer.as_deref()), (TRACEPARENT, traceparent)];
        for (name, value) in extra {
            if let Some(value) = value {
                let refused = |_| SidecarError::Refused { status: 400, message: format!("{name} is no header value") };
                headers.insert(name.clone(), HeaderValue::from_str(value).map_err(refused)?);
            }
        }
        let path = format!("/{}", path.trim_start_matches('/'));
        let body = body.to_string().into_bytes();
        match call(router, Method::POST, &path, headers, body, timeout).await {
            Ok((status, body)) => Ok(Invoked { status, body: serde_json::from_slice(&body).unwrap_or_default() }),
            Err(error @ CallError::Timeout(_)) => Err(SidecarError::Unavailable(format!("{app_id}: {error}"))),
            Err(error @ CallError::Malformed(_)) => {
                Err(SidecarError::Refused { status: 400, message: format!("{error}: path {path}") })
            }
            Err(error @ CallError::Answer) => {
                Err(SidecarError::Refused { status: 502, message: format!("{app_id}: {error}") })
            }
        }
    }

    async fn outbound_ready(&self) -> bool {
        !self.mesh.broker.is_closed()
    }

    async fn subscribed(&self) -> bool {
        self.mesh.apps.router(&self.app_id).is_some()
    }
}
