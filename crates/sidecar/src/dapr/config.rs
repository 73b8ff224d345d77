//! Where the sidecar is, and what its components are called.

use std::{fmt, time::Duration};

use mesh_six_core::names;

/// Where the sidecar is, and what its components are called.
#[derive(Clone)]
pub struct DaprConfig {
    /// The app-id whose sidecar it is.
    pub app_id: String,
    /// The root of its HTTP API.
    pub base_url: String,
    /// Pub/sub component.
    pub pubsub: String,
    /// State store component.
    pub state_store: String,
    /// What the sidecar wants in the header `dapr-api-token` (`DAPR_API_TOKEN`).
    pub api_token: Option<String>,
    /// How long a publish goes on trying while the broker or the sidecar is away.
    pub publish_wait: Duration,
}

impl DaprConfig {
    /// The sidecar of `app_id` where Dapr puts it: port 3500, the components that all services share, no token.
    pub fn new(app_id: &str) -> Self {
        Self {
            app_id: app_id.to_owned(),
            base_url: "http://localhost:3500".to_owned(),
            pubsub: names::PUBSUB.to_owned(),
            state_store: names::STATE_STORE.to_owned(),
            api_token: None,
            publish_wait: Duration::from_secs(9),
        }
    }
}

/// Says whether there is a token, not which.
impl fmt::Debug for DaprConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DaprConfig")
            .field("app_id", &self.app_id)
            .field("pubsub", &self.pubsub)
            .field("state_store", &self.state_store)
            .field("has_api_token", &self.api_token.is_some())
            .field("publish_wait", &self.publish_wait)
            .finish_non_exhaustive()
    }
}

/// Why the sidecar cannot be talked to.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DaprConfigError {
    /// The app-id is empty.
    #[error("the app-id is empty")]
    AppId,
    /// The URL is not one of an HTTP server, or has more than host and port.
    #[error(
        "the sidecar's URL (DAPR_HOST, DAPR_HTTP_PORT) is not that of a host and port, such as http://localhost:3500"
    )]
    Url,
    /// The token cannot be sent.
    #[error("DAPR_API_TOKEN has characters that an HTTP header cannot carry")]
    ApiToken,
    /// The HTTP client cannot start; over https most likely because the machine has no root certificates.
    #[error("the HTTP client for the sidecar cannot start (for https, are root certificates installed?)")]
    Client(#[source] reqwest::Error),
}
