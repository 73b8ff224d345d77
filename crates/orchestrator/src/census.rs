//! Counts the agents of the registry by their status, for whoever watches the mesh.

use std::{sync::Arc, time::Duration};

use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::{engine::Engine, metrics};

/// How often. A heartbeat may be missing for longer before an agent counts as gone.
const EVERY: Duration = Duration::from_secs(5);

/// Runs until `stop`. While the registry is away the counts stay as they were.
pub(crate) async fn run(engine: Arc<Engine>, stop: CancellationToken) {
    while !stop.is_cancelled() {
        match engine.registry.list_all().await {
            Ok(agents) => metrics::agents(&agents),
            Err(error) => tracing::debug!(error = &error as &dyn std::error::Error, "the agents were not counted"),
        }
        let _ = timeout(EVERY, stop.cancelled()).await;
    }
}
