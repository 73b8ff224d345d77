//! Which model to use.

use std::{fmt, sync::Arc};

use crate::{ChatModel, OfflineModel, OpenAiModel};

/// The model where none is named.
pub const DEFAULT_MODEL: &str = "anthropic/claude-sonnet-4-20250514";

/// Where the model is and what it is called.
#[derive(Clone, PartialEq, Eq)]
pub struct LlmConfig {
    /// An OpenAI-compatible endpoint, up to but without `/chat/completions` (`LITELLM_BASE_URL`, `--llm-url`).
    pub base_url: String,
    /// Sent as a bearer token (`LITELLM_API_KEY`).
    pub api_key: Option<String>,
    /// The model's name (`LLM_MODEL`, `--model`).
    pub model: String,
}

/// Says whether there is a key, not which.
impl fmt::Debug for LlmConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LlmConfig")
            .field("model", &self.model)
            .field("has_api_key", &self.api_key.is_some())
            .finish_non_exhaustive()
    }
}

/// Why a model cannot be set up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The URL is not one.
    #[error("LITELLM_BASE_URL (--llm-url) is not an http or https URL, such as http://127.0.0.1:4000/v1")]
    Url,
    /// The key cannot be sent.
    #[error("LITELLM_API_KEY has characters that an HTTP header cannot carry")]
    ApiKey,
    /// No name.
    #[error("LLM_MODEL (--model) is empty")]
    Model,
    /// The HTTP client cannot start; over https most likely because the machine has no root certificates.
    #[error("the HTTP client for the model cannot start (for https, are root certificates installed?)")]
    Client(#[source] reqwest::Error),
}

/// The model behind `base_url`; the offline model where there is none.
pub fn model_from_config(
    base_url: Option<&str>,
    api_key: Option<&str>,
    model: &str,
) -> Result<Arc<dyn ChatModel>, ConfigError> {
    let Some(base_url) = base_url.map(str::trim).filter(|url| !url.is_empty()) else {
        return Ok(Arc::new(OfflineModel));
    };
    let config =
        LlmConfig { base_url: base_url.to_owned(), api_key: api_key.map(str::to_owned), model: model.to_owned() };
    Ok(Arc::new(OpenAiModel::new(&config)?))
}
