//! Configuration: one small struct per concern, read once from an [`Env`](crate::env::Env).

mod common;
mod llm;
mod mqtt;
mod variables;

pub use common::{CommonConfig, DEFAULT_DRAIN, DatabaseUrls, drain};
pub use llm::LlmSettings;
pub use mqtt::MqttSettings;
pub use variables::{VARIABLES, Variable};
