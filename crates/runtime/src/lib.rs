//! What every service shares: configuration, logs and metrics, the HTTP shell around its routes, shutdown,
//! and the registry of agents.
//!
//! A service hands its routes to [`http::shell`] and its listener to [`serve`](serve::serve); everything that a caller
//! or a probe expects of any service comes from here, once.
//! Errors are `thiserror` enums where callers decide, [`http::HttpError`] where they end as an answer.

pub mod agent;
pub mod background;
pub mod config;
pub mod env;
pub mod http;
pub mod metrics;
pub mod mqtt;
pub mod registry;
pub mod secret;
pub mod serve;
pub mod shutdown;
pub mod telemetry;

pub use background::Background;
pub use config::{CommonConfig, LlmSettings, MqttSettings};
pub use env::{ConfigError, Env, MapEnv, ProcessEnv};
pub use http::{
    Auth, HealthState, HttpError, RequestTrace, Routes, ServiceInfo, ValidJson, ValidPath, ValidQuery, shell,
};
pub use mqtt::Mqtt;
pub use registry::{Registry, RegistryError};
pub use secret::Secret;
pub use serve::{serve, serve_with_grace};
pub use shutdown::shutdown_signal;
