//! The public API under one address, as the ingress of `k8s/overlays/prod` cuts it up.

use std::{collections::BTreeMap, fs, sync::Arc};

use anyhow::{Context, Result};
use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use serde_json::Value;
use tokio::net::TcpListener;

use crate::launch::client;

const INGRESS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../k8s/overlays/prod/ingress.yaml");

/// A path's beginning and the service behind it, the longest first.
type Routes = Vec<(String, String)>;

/// Serves on a free port; `urls` tells each service's address.
pub(super) async fn serve(urls: &BTreeMap<String, String>) -> Result<u16> {
    let routes: Routes =
        routes()?.into_iter().filter_map(|(path, service)| Some((path, urls.get(&service)?.clone()))).collect();
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.context("no port for the front door")?;
    let port = listener.local_addr()?.port();
    let app = Router::new().fallback(pass).with_state(Arc::new(routes));
    tokio::spawn(async move { axum::serve(listener, app).await });
    Ok(port)
}

fn routes() -> Result<Routes> {
    let text = fs::read_to_string(INGRESS).with_context(|| format!("cannot read {INGRESS}"))?;
    let ingress: Value = serde_saphyr::from_str(&text).with_context(|| format!("{INGRESS} is no YAML"))?;
    let paths = ingress["spec"]["rules"][0]["http"]["paths"].as_array().context("the ingress has no paths")?;
    let mut routes = Vec::new();
    for path in paths {
        let prefix = path["path"].as_str().context("a path of the ingress has no path")?;
        let service = path["backend"]["service"]["name"].as_str().context("a path of the ingress has no service")?;
        routes.push((prefix.to_owned(), service.to_owned()));
    }
    routes.sort_by_key(|(prefix, _)| std::cmp::Reverse(prefix.len()));
    Ok(routes)
}

/// The service whose prefix fits, by whole segments.
fn behind<'a>(routes: &'a Routes, path: &str) -> Option<&'a str> {
    let fits = |prefix: &str| {
        path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/') || prefix.ends_with('/'))
    };
    routes.iter().find(|(prefix, _)| fits(prefix)).map(|(_, target)| target.as_str())
}

async fn pass(State(routes): State<Arc<Routes>>, request: Request) -> Response {
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
    let Some(target) = behind(&routes, request.uri().path()) else {
        return (StatusCode::NOT_FOUND, "the ingress has no such path\n").into_response();
    };
    let url = format!("{target}{path}");
    let (parts, body) = request.into_parts();
    let mut headers = parts.headers;
    // Of this connection, not of the next one.
    for name in [header::CONNECTION, header::TRANSFER_ENCODING, header::HOST] {
        headers.remove(name);
    }
    let request = client().request(parts.method, url).headers(headers);
    let request = request.body(reqwest::Body::wrap_stream(body.into_data_stream()));
    match request.send().await {
        Ok(answer) => {
            let mut response = Response::builder().status(answer.status());
            if let Some(headers) = response.headers_mut() {
                *headers = answer.headers().clone();
                headers.remove(header::CONNECTION);
                headers.remove(header::TRANSFER_ENCODING);
            }
            let response = response.body(Body::from_stream(answer.bytes_stream()));
            response.unwrap_or_else(|_| StatusCode::BAD_GATEWAY.into_response())
        }
        Err(error) => (StatusCode::BAD_GATEWAY, format!("{}\n", error.without_url())).into_response(),
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may panic")]

    use super::*;

    #[test]
    fn the_ingress_cuts_the_api_up() {
        let routes = routes().unwrap();
        for (path, service) in [
            ("/api/v1/events", Some("event-logger")),
            ("/api/v1/events/tail", Some("event-logger")),
            ("/api/v1/eventsx", Some("orchestrator")),
            ("/api/v1/tasks", Some("orchestrator")),
            ("/api/v1/tasks/01a2", Some("orchestrator")),
            ("/api/v1/tasks/01a2/timeline", Some("orchestrator")),
            ("/healthz", None),
        ] {
            assert_eq!(behind(&routes, path), service, "{path}");
        }
    }
}
