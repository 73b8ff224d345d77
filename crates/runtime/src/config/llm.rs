//! Which model answers.

use mesh_six_llm::DEFAULT_MODEL;

use crate::{
    env::{ConfigError, Env, switch},
    secret::Secret,
};

/// The model that agents ask.
#[derive(Clone, Debug)]
pub struct LlmSettings {
    /// `LITELLM_BASE_URL`: an OpenAI-compatible endpoint, without a final slash.
    pub base_url: Option<String>,
    /// `LITELLM_API_KEY`, default sk-local.
    pub api_key: Secret,
    /// `LLM_MODEL`.
    pub model: String,
    /// `LLM_OFFLINE`, default false: answer without a model even if an endpoint is set.
    pub offline: bool,
    /// `OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT`, default false: keep prompts and answers.
    pub capture_content: bool,
}

impl LlmSettings {
    /// Reads the settings.
    pub fn from_env(env: &dyn Env) -> Result<Self, ConfigError> {
        let base_url = env.get("LITELLM_BASE_URL").map(|url| check_url(&url)).transpose()?;
        Ok(Self {
            base_url,
            api_key: Secret::new(env.get("LITELLM_API_KEY").unwrap_or_else(|| "sk-local".to_owned())),
            model: env.get("LLM_MODEL").unwrap_or_else(|| DEFAULT_MODEL.to_owned()),
            offline: switch(env, "LLM_OFFLINE", false)?,
            capture_content: switch(env, "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT", false)?,
        })
    }

    /// The endpoint to ask; `None` means the offline model.
    pub fn endpoint(&self) -> Option<&str> {
        self.base_url.as_deref().filter(|_| !self.offline)
    }

    /// Refuses to run offline by accident: `serve` wants an endpoint or an explicit `LLM_OFFLINE=true`.
    pub fn require_choice(&self) -> Result<(), ConfigError> {
        if self.offline || self.base_url.is_some() {
            return Ok(());
        }
        Err(ConfigError::new(
            "LITELLM_BASE_URL",
            "is not set: give an OpenAI-compatible endpoint, or LLM_OFFLINE=true to answer without a model",
        ))
    }
}

/// The address may carry credentials, so the error does not repeat it.
fn check_url(url: &str) -> Result<String, ConfigError> {
    match reqwest::Url::parse(url) {
        Ok(parsed) if matches!(parsed.scheme(), "http" | "https") && parsed.has_host() => {
            Ok(url.trim_end_matches('/').to_owned())
        }
        _ => Err(ConfigError::new("LITELLM_BASE_URL", "must be an http or https address, such as http://host:4000/v1")),
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test that cannot go on should fail there")]
mod tests {
    use super::*;
    use crate::env::MapEnv;

    #[test]
    fn an_endpoint_or_an_explicit_offline_is_wanted() {
        let read = |pairs: &[(&str, &str)]| LlmSettings::from_env(&MapEnv::new(pairs.iter().copied()));
        let none = read(&[]).unwrap();
        assert_eq!(none.endpoint(), None);
        assert!(none.require_choice().unwrap_err().to_string().contains("LLM_OFFLINE=true"));
        assert_eq!(none.model, "anthropic/claude-sonnet-4-20250514");
        let set = read(&[("LITELLM_BASE_URL", "http://h:4000/v1/")]).unwrap();
        assert_eq!(set.endpoint(), Some("http://h:4000/v1"));
        set.require_choice().unwrap();
        let off = read(&[("LITELLM_BASE_URL", "http://h"), ("LLM_OFFLINE", "true")]).unwrap();
        assert_eq!(off.endpoint(), None);
        assert_eq!(read(&[("LITELLM_BASE_URL", "h:4000")]).unwrap_err().variable, "LITELLM_BASE_URL");
    }
}
