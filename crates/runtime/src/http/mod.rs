//! The HTTP shell that every service wears.

mod auth;
mod error;
mod extract;
mod guard;
mod health;
mod layers;
mod request_trace;
mod shell;

pub use auth::{Auth, ListenerRefused, listener_policy};
pub use error::HttpError;
pub use extract::{ValidJson, ValidPath, ValidQuery};
pub use health::HealthState;
pub use request_trace::RequestTrace;
pub use shell::{DEFAULT_TIMEOUT, Routes, ServiceInfo, shell};
