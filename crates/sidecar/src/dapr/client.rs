//! Requests to the sidecar's HTTP API, bounded in time and size.

use std::{fmt::Write, time::Duration};

use mesh_six_core::TraceId;
use reqwest::{
    Client, RequestBuilder, Response, Url,
    header::{ETAG, HeaderMap, HeaderValue},
    redirect,
};
use serde::Deserialize;

use super::config::{DaprConfig, DaprConfigError};
use crate::{
    limits::{MAX_ANSWER_BYTES, refused},
    port::SidecarError,
    subscriptions::APP_TOKEN_HEADER,
};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// Longest reason of the sidecar that is repeated, in characters.
const MAX_REASON: usize = 300;

/// The HTTP API of one sidecar.
pub(super) struct Api {
    client: Client,
    /// Scheme, host and port, without a slash at the end.
    base: String,
}

/// A whole answer.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) etag: Option<String>,
    pub(super) body: Vec<u8>,
}

/// How Dapr words an error.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Reason {
    pub(super) error_code: String,
    pub(super) message: String,
}

impl Api {
    /// Checks the configuration; does not connect yet. No redirects and no proxy: the token goes to the sidecar only.
    pub(super) fn new(config: &DaprConfig) -> Result<Self, DaprConfigError> {
        let base = base(&config.base_url)?;
        let mut headers = HeaderMap::new();
        if let Some(token) = config.api_token.as_deref().filter(|token| !token.is_empty()) {
            let mut value = HeaderValue::from_str(token).map_err(|_| DaprConfigError::ApiToken)?;
            value.set_sensitive(true);
            headers.insert(APP_TOKEN_HEADER, value);
        }
        // Another crate may have installed it already, which is just as well.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut builder = Client::builder()
            .user_agent(concat!("mesh-six/", env!("CARGO_PKG_VERSION")))
            .default_headers(headers)
            .connect_timeout(CONNECT_TIMEOUT)
            .redirect(redirect::Policy::none())
            .retry(reqwest::retry::never())
            .no_proxy();
        if base.starts_with("http:") {
            // Without this a machine that has no root certificates could not even speak plain HTTP.
            builder = builder.tls_certs_only([]);
        }
        let client = builder.build().map_err(|error| DaprConfigError::Client(error.without_url()))?;
        Ok(Self { client, base })
    }

    pub(super) fn get(&self, path: &str) -> RequestBuilder {
        self.client.get(self.url(path))
    }

    pub(super) fn post(&self, path: &str) -> RequestBuilder {
        self.client.post(self.url(path))
    }

    pub(super) fn delete(&self, path: &str) -> RequestBuilder {
        self.client.delete(self.url(path))
    }

    pub(super) fn url(&self, path: &str) -> String {
        format!("{}/v1.0/{path}", self.base)
    }
}

/// Sends `request` and reads the whole answer, all within `limit`.
pub(super) async fn send(request: RequestBuilder, limit: Duration) -> Result<Answer, SidecarError> {
    let response = request.timeout(limit).send().await.map_err(|error| broken(&error))?;
    let status = response.status().as_u16();
    let etag = response.headers().get(ETAG).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let body = read(response).await?;
    Ok(Answer { status, etag, body })
}

async fn read(mut response: Response) -> Result<Vec<u8>, SidecarError> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| broken(&error))? {
        if body.len() + chunk.len() > MAX_ANSWER_BYTES {
            return Err(refused(502, format!("the answer is larger than {MAX_ANSWER_BYTES} bytes")));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// The error's own text is left out: it may tell more of the request than a log should have.
fn broken(error: &reqwest::Error) -> SidecarError {
    if error.is_builder() {
        return refused(400, "the request is malformed".to_owned());
    }
    SidecarError::Unavailable(
        match (error.is_connect(), error.is_timeout()) {
            (true, _) => "it cannot be reached",
            (_, true) => "it did not answer in time",
            _ => "the connection broke off",
        }
        .to_owned(),
    )
}

impl Answer {
    /// The error that this answer is, if it is none of 2xx.
    pub(super) fn checked(self) -> Result<Self, SidecarError> {
        if (200..300).contains(&self.status) { Ok(self) } else { Err(self.error()) }
    }

    /// What the sidecar gives as reason; empty if it is no error of Dapr's.
    pub(super) fn reason(&self) -> Reason {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    fn error(&self) -> SidecarError {
        let Reason { error_code, message } = self.reason();
        match self.status {
            401 => refused(401, "it wants another token (DAPR_API_TOKEN)".to_owned()),
            // A component's own words may hold anything, such as the address of a broker with its password.
            status @ (408 | 429 | 500..) => SidecarError::Unavailable(format!("it answered {status} {error_code}")),
            status => refused(status, format!("{error_code} {}", message.chars().take(MAX_REASON).collect::<String>())),
        }
    }
}

/// `text` as one segment of a path. Everything but the unreserved characters is escaped, since Dapr reads a `+`
/// as a space.
pub(super) fn segment(text: &str) -> Result<String, SidecarError> {
    // Even escaped, these two would be taken for steps in the path.
    if text.is_empty() || text == "." || text == ".." {
        return Err(refused(400, format!("`{text}` cannot be part of a path")));
    }
    Ok(text.bytes().fold(String::with_capacity(text.len()), |mut path, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            path.push(char::from(byte));
        } else {
            // Writing into a text cannot fail.
            let _ = write!(path, "%{byte:02X}");
        }
        path
    }))
}

/// With the trace in its header; what is no trace is left out.
pub(super) fn traced(request: RequestBuilder, traceparent: Option<&str>) -> RequestBuilder {
    match traceparent.filter(|text| TraceId::from_traceparent(text).is_some()) {
        Some(traceparent) => request.header("traceparent", traceparent),
        None => request,
    }
}

/// Scheme, host and port of `url`, which has nothing else.
fn base(url: &str) -> Result<String, DaprConfigError> {
    let text = url.trim().trim_end_matches('/');
    let url = Url::parse(text).map_err(|_| DaprConfigError::Url)?;
    let usable = matches!(url.scheme(), "http" | "https")
        && text.contains("://")
        && (url.path(), url.query(), url.fragment()) == ("/", None, None)
        && (url.username(), url.password()) == ("", None);
    if usable { Ok(url.as_str().trim_end_matches('/').to_owned()) } else { Err(DaprConfigError::Url) }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn the_url_has_host_and_port_only() {
        assert_eq!(base(" http://localhost:3500/ ").unwrap(), "http://localhost:3500");
        assert_eq!(base("http://[::1]:3500").unwrap(), "http://[::1]:3500");
        assert_eq!(base("https://dapr").unwrap(), "https://dapr");
        for bad in ["", "localhost:3500", "http:3500", "ftp://h", "http://h/v1.0", "http://h?x", "http://u:p@h:3500"] {
            assert!(matches!(base(bad), Err(DaprConfigError::Url)), "{bad}");
        }
    }

    #[test]
    fn a_segment_is_escaped_but_for_unreserved_characters() {
        assert_eq!(segment("agent:a-b_c.d~1").unwrap(), "agent%3Aa-b_c.d~1");
        assert_eq!(segment("50% + a/b?ü").unwrap(), "50%25%20%2B%20a%2Fb%3F%C3%BC");
        for bad in ["", ".", ".."] {
            assert!(!segment(bad).unwrap_err().is_transient());
        }
    }

    #[test]
    fn a_configuration_shows_no_token() {
        let config = DaprConfig { api_token: Some("hunter2".to_owned()), ..DaprConfig::new("app") };
        assert!(!format!("{config:?}").contains("hunter2"));
        Api::new(&config).unwrap();
        let config = DaprConfig { api_token: Some("hunter\n2".to_owned()), ..config };
        assert!(matches!(Api::new(&config), Err(DaprConfigError::ApiToken)));
    }
}
