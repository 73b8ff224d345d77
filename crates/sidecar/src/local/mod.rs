//! The local mesh: pub/sub, state and invocation inside the process, for development, tests and `mesh-six up`.
//!
//! It calls the same routers with the same envelopes as Dapr and reads the same answers, at least once, with
//! redelivery, back-off and dead letters. Where it differs from Dapr beside `RabbitMQ`, it says more or holds up
//! less: [`Sidecar::publish`] returns only when every subscriber has answered for good; a message that waits for
//! its next try lets the others of its subscription pass; a dead letter tells in its entry's metadata
//! ([`crate::delivery::ORIGIN_APP_ID`], [`crate::delivery::ORIGIN_TOPIC`]) which app dropped it from which topic.
//! Nothing is on disk: after a crash the publishers' outboxes fill the queues again.

mod answers;
mod apps;
mod broker;
mod call;
mod config;
mod queue;
mod receipt;
mod sidecar;
mod state;
mod worker;

use std::sync::Arc;

use axum::Router;
use tokio::time::timeout;
use uuid::Uuid;

pub use config::MeshConfig;

use crate::port::{Sidecar, SidecarError};
use apps::Apps;
use broker::Broker;
use sidecar::LocalSidecar;
use state::StateStore;

/// A mesh inside the process. Clones share it.
#[derive(Clone)]
pub struct LocalMesh {
    broker: Arc<Broker>,
    apps: Arc<Apps>,
    state: Arc<StateStore>,
    config: Arc<MeshConfig>,
}

impl Default for LocalMesh {
    fn default() -> Self {
        Self::new()
    }
}

impl LocalMesh {
    /// A mesh with the bounds of messaging.md.
    pub fn new() -> Self {
        Self::with_config(MeshConfig::default())
    }

    /// A mesh with bounds of its own.
    pub fn with_config(config: MeshConfig) -> Self {
        let broker = Arc::new(Broker::new(config.queue_capacity.max(1)));
        let config = Arc::new(config);
        // Random and known to nobody outside: the delivery routes hang on a port that others can reach.
        let token = Uuid::new_v4().simple().to_string();
        let apps = Arc::new(Apps::new(Arc::clone(&broker), Arc::clone(&config), token));
        Self { broker, apps, state: Arc::default(), config }
    }

    /// What the mesh shows to an app in the header `dapr-api-token`; to be given to
    /// [`crate::subscription_router`].
    pub fn app_token(&self) -> &str {
        self.apps.token()
    }

    /// The sidecar of `app_id`. It can publish, keep state and invoke at once; it is subscribed once the app is
    /// attached.
    pub fn sidecar(&self, app_id: &str) -> Arc<dyn Sidecar> {
        Arc::new(LocalSidecar { app_id: app_id.to_owned(), mesh: self.clone() })
    }

    /// Reads `GET /dapr/subscribe` through `router`, makes the queues and begins to deliver. From here on
    /// `app_id` can be invoked. Refused: a second app of this app-id, a subscription that is not bulk, two
    /// subscriptions to one topic.
    pub async fn attach(&self, app_id: &str, router: Router) -> Result<(), SidecarError> {
        self.apps.attach(app_id, router).await
    }

    /// Ends the delivery to `app_id` after the batches that are in flight. Its queues stay, and fill until it is
    /// attached again.
    pub async fn detach(&self, app_id: &str) {
        self.apps.detach(app_id).await;
    }

    /// How many published messages some subscriber has not dealt with yet.
    pub fn under_way(&self) -> usize {
        *self.broker.under_way().borrow()
    }

    /// Takes nothing new, waits for what is under way and for the deliveries in flight, each for at most
    /// `drain_wait`, then ends. Publishers that still wait are told that the mesh is unavailable.
    pub async fn shutdown(&self) {
        self.broker.stop_taking();
        let mut under_way = self.broker.under_way();
        if timeout(self.config.drain_wait, under_way.wait_for(|count| *count == 0)).await.is_err() {
            tracing::warn!(
                messages = *under_way.borrow(),
                "shut down with messages under way; their publishers keep them"
            );
        }
        self.apps.detach_all().await;
        self.broker.close();
    }
}
