//! A client of the mesh's public API.

use std::time::Duration;

use mesh_six_core::{ApiError, ErrorType, error::ErrorBody};
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde::de::DeserializeOwned;

use crate::{cli::Target, exit::Exit};

/// A running mesh.
#[derive(Clone)]
pub(crate) struct Client {
    http: reqwest::Client,
    target: Target,
}

impl Client {
    /// Does not connect yet.
    pub(crate) fn new(target: Target) -> anyhow::Result<Self> {
        // A second call finds the provider installed, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        if !target.url.starts_with("http://") && !target.url.starts_with("https://") {
            return Err(Exit::usage(format!("--url must begin with http:// or https://, not {:?}", target.url)));
        }
        let http = reqwest::Client::builder()
            .connect_timeout(Duration::from_secs(3))
            .redirect(reqwest::redirect::Policy::none())
            .build()?;
        Ok(Self { http, target })
    }

    /// A request to `path`, which begins with a slash.
    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let url = format!("{}{path}", self.target.url.trim_end_matches('/'));
        let request = self.http.request(method, url);
        match &self.target.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }

    /// Sends `request`; an error answer becomes an [`ApiError`], no answer the exit code for that.
    pub(crate) async fn send(&self, request: RequestBuilder) -> anyhow::Result<Response> {
        let response = request.send().await.map_err(|e| self.unreachable(&e))?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let body = response.bytes().await.unwrap_or_default();
        Err(match serde_json::from_slice::<ErrorBody>(&body) {
            Ok(mut body) => {
                if status == StatusCode::UNAUTHORIZED {
                    body.error.message.push_str("; give it with --api-token or API_TOKEN");
                }
                body.error.into()
            }
            Err(_) => ApiError::new(kind(status), format!("{} answered {status}", self.target.url)).into(),
        })
    }

    /// GETs JSON from the path that `segments` make, each of them encoded.
    pub(crate) async fn get<T: DeserializeOwned>(&self, segments: &[&str]) -> anyhow::Result<T> {
        let response = self.send(self.request(Method::GET, &path(segments))).await?;
        response.json().await.map_err(|e| self.unreachable(&e))
    }

    /// The error of a request that got no answer, or half of one.
    pub(crate) fn unreachable(&self, error: &reqwest::Error) -> anyhow::Error {
        let why = if error.is_connect() {
            "nothing answers there; start the mesh with `mesh-six up`, or name it with --url or MESH_SIX_URL"
        } else if error.is_timeout() {
            "it did not answer in time"
        } else if error.is_decode() {
            "its answer is not one of a mesh"
        } else {
            "the connection broke"
        };
        Exit::unreachable(format!("cannot reach the mesh at {}: {why}", self.target.url))
    }
}

/// The path that `segments` make, each of them encoded.
pub(crate) fn path(segments: &[&str]) -> String {
    let mut url = reqwest::Url::from_file_path("/").unwrap_or_else(|()| unreachable!("the root is a path"));
    if let Ok(mut parts) = url.path_segments_mut() {
        parts.clear().extend(segments);
    }
    url.path().to_owned()
}

/// The type of an error whose body is not ours, such as a proxy's.
fn kind(status: StatusCode) -> ErrorType {
    match status.as_u16() {
        401 => ErrorType::Unauthorized,
        403 => ErrorType::Permission,
        404 => ErrorType::NotFound,
        502..=504 => ErrorType::Unavailable,
        400..=499 => ErrorType::Validation,
        _ => ErrorType::Unhandled,
    }
}
