//! Any endpoint that speaks the chat-completions format: `LiteLLM`, Ollama, vLLM, llama.cpp, `OpenAI` itself.

mod wire;

use std::time::Duration;

use async_trait::async_trait;
use reqwest::{
    Client, Response, StatusCode, Url,
    header::{AUTHORIZATION, HeaderMap, HeaderValue, RETRY_AFTER},
    redirect,
};

use crate::{ChatModel, ChatRequest, ChatResponse, ConfigError, LlmConfig, LlmError, Provider};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// A larger answer is refused, in bytes.
const MAX_RESPONSE_BYTES: usize = 1024 * 1024;
/// `LiteLLM` tells the cost of a request only here, in US dollars.
const COST_HEADER: &str = "x-litellm-response-cost";

/// A model behind an OpenAI-compatible endpoint.
///
/// Makes one request per [`ChatModel::chat`] and follows no redirects, so that a key never travels to another
/// host. Neither bodies nor keys are logged.
pub struct OpenAiModel {
    client: Client,
    url: Url,
    authorization: Option<HeaderValue>,
    model: String,
}

impl OpenAiModel {
    /// Checks the configuration; does not connect yet.
    pub fn new(config: &LlmConfig) -> Result<Self, ConfigError> {
        if config.model.trim().is_empty() {
            return Err(ConfigError::Model);
        }
        let url = endpoint(&config.base_url)?;
        let authorization = config.api_key.as_deref().filter(|key| !key.is_empty()).map(bearer).transpose()?;
        // Another crate may have installed it already, which is just as well.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut builder = Client::builder()
            .user_agent(concat!("mesh-six/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT_TIMEOUT)
            .redirect(redirect::Policy::none())
            .retry(reqwest::retry::never());
        if url.scheme() == "http" {
            // Without this a machine that has no root certificates could not even speak plain HTTP.
            builder = builder.tls_certs_only([]);
        }
        let client = builder.build().map_err(|e| ConfigError::Client(e.without_url()))?;
        Ok(Self { client, url, authorization, model: config.model.clone() })
    }

    async fn send(&self, request: &ChatRequest) -> Result<Response, LlmError> {
        let mut http = self.client.post(self.url.clone()).timeout(request.timeout);
        if let Some(authorization) = &self.authorization {
            http = http.header(AUTHORIZATION, authorization);
        }
        if let Some(traceparent) = &request.traceparent {
            http = http.header("traceparent", traceparent);
        }
        http.json(&wire::request(&self.model, request))
            .send()
            .await
            .map_err(|error| failed(error, request.timeout, |source| LlmError::Unreachable { source: source.into() }))
    }
}

#[async_trait]
impl ChatModel for OpenAiModel {
    fn name(&self) -> &str {
        &self.model
    }

    fn provider(&self) -> Provider {
        Provider {
            name: "openai",
            address: self.url.host_str().map(str::to_owned),
            port: self.url.port_or_known_default(),
        }
    }

    async fn chat(&self, request: &ChatRequest) -> Result<ChatResponse, LlmError> {
        let answer = self.send(request).await?;
        refusal(answer.status(), answer.headers())?;
        let cost = cost(answer.headers());
        let body = read(answer, request.timeout).await?;
        wire::response(&body, cost)
    }
}

/// `base_url` with or without a slash at its end, or the whole URL of chat completions.
fn endpoint(base_url: &str) -> Result<Url, ConfigError> {
    let base = base_url.trim().trim_end_matches('/');
    let base = base.strip_suffix("/chat/completions").unwrap_or(base);
    let url = Url::parse(&format!("{base}/chat/completions")).map_err(|_| ConfigError::Url)?;
    // "http:" alone would otherwise take the path for the host.
    let usable = matches!(url.scheme(), "http" | "https") && base.contains("://");
    if usable { Ok(url) } else { Err(ConfigError::Url) }
}

fn bearer(key: &str) -> Result<HeaderValue, ConfigError> {
    let mut value = HeaderValue::from_str(&format!("Bearer {key}")).map_err(|_| ConfigError::ApiKey)?;
    value.set_sensitive(true);
    Ok(value)
}

/// The error that a status stands for; the body is not read, it may hold anything.
fn refusal(status: StatusCode, headers: &HeaderMap) -> Result<(), LlmError> {
    match status.as_u16() {
        200..=299 => Ok(()),
        429 => Err(LlmError::RateLimited { retry_after: retry_after(headers) }),
        408 | 500..=599 => Err(LlmError::Server { status: status.as_u16(), retry_after: retry_after(headers) }),
        status => Err(LlmError::Client { status }),
    }
}

/// `Retry-After` in seconds or as an HTTP date.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse::<f64>() {
        return Duration::try_from_secs_f64(seconds).ok();
    }
    let date = chrono::DateTime::parse_from_rfc2822(text).ok()?;
    Some(date.signed_duration_since(chrono::Utc::now()).to_std().unwrap_or_default())
}

fn cost(headers: &HeaderMap) -> Option<f64> {
    let cost: f64 = headers.get(COST_HEADER)?.to_str().ok()?.trim().parse().ok()?;
    (cost.is_finite() && cost >= 0.0).then_some(cost)
}

async fn read(mut answer: Response, timeout: Duration) -> Result<Vec<u8>, LlmError> {
    let mut body = Vec::new();
    let broken = |_| LlmError::Unusable { reason: "it broke off".to_owned() };
    while let Some(chunk) = answer.chunk().await.map_err(|error| failed(error, timeout, broken))? {
        if body.len() + chunk.len() > MAX_RESPONSE_BYTES {
            return Err(LlmError::Unusable { reason: format!("it is larger than {MAX_RESPONSE_BYTES} bytes") });
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// A connect timeout counts as unreachable: the model never had the request.
fn failed(error: reqwest::Error, timeout: Duration, otherwise: impl FnOnce(reqwest::Error) -> LlmError) -> LlmError {
    let error = error.without_url();
    if error.is_timeout() && !error.is_connect() {
        return LlmError::Timeout { after: timeout };
    }
    otherwise(error)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test that cannot go on should fail there")]
mod tests {
    use super::*;

    #[test]
    fn the_endpoint_takes_what_people_type() {
        for base in ["http://h:4000/v1", " http://h:4000/v1/ ", "http://h:4000/v1/chat/completions"] {
            assert_eq!(endpoint(base).unwrap().as_str(), "http://h:4000/v1/chat/completions", "{base}");
        }
        assert_eq!(endpoint("https://h").unwrap().as_str(), "https://h/chat/completions");
        for bad in ["", "h:4000", "localhost", "ftp://h/v1", "http://", "file:///etc"] {
            assert!(matches!(endpoint(bad), Err(ConfigError::Url)), "{bad}");
        }
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let told = |text: &str| {
            let headers = HeaderMap::from_iter([(RETRY_AFTER, HeaderValue::from_str(text).unwrap())]);
            retry_after(&headers)
        };
        assert_eq!(told("2"), Some(Duration::from_secs(2)));
        assert_eq!(told("0.25"), Some(Duration::from_millis(250)));
        assert_eq!(told("-1"), None);
        assert_eq!(told("soon"), None);
        assert_eq!(told("Wed, 21 Oct 2015 07:28:00 GMT"), Some(Duration::ZERO));
        let later = chrono::Utc::now() + chrono::Duration::seconds(60);
        let wait = told(&later.format("%a, %d %b %Y %H:%M:%S GMT").to_string()).unwrap();
        assert!((55..=60).contains(&wait.as_secs()), "{wait:?}");
    }

    #[test]
    fn an_absurd_cost_is_no_cost() {
        let told = |text: &str| {
            cost(&HeaderMap::from_iter([(
                "x-litellm-response-cost".parse().unwrap(),
                HeaderValue::from_str(text).unwrap(),
            )]))
        };
        assert_eq!(told("0.00012"), Some(0.00012));
        assert_eq!([told("NaN"), told("-1"), told("None")], [None; 3]);
    }

    #[test]
    fn a_configuration_shows_no_key() {
        let config =
            LlmConfig { base_url: "http://u:secret@h/v1".into(), api_key: Some("secret".into()), model: "m".into() };
        assert!(!format!("{config:?}").contains("secret"));
    }
}
