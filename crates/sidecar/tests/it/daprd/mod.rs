//! A stand-in for daprd 1.18 with a broker and a Redis store behind it, on real sockets.
//!
//! It speaks the wire formats of Dapr's HTTP API and does what was found to matter (`ETags`, times to live,
//! envelopes, bulk answers), so that the adapter is tested against something stricter than itself.

mod api;
mod broker;
mod store;

use std::{
    collections::HashMap,
    net::TcpListener,
    sync::{Arc, Mutex},
};

use async_trait::async_trait;
use axum::Router;
use mesh_six_sidecar::{DaprConfig, DaprSidecar, Sidecar, subscription_router};
use reqwest::Client;
use serde_json::Value;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::conformance::{Fixture, Subscriptions, conformance};

/// What the sidecars want from their apps.
pub(crate) const API_TOKEN: &str = "token-of-the-sidecar";
/// What the apps want from their sidecars.
const APP_TOKEN: &str = "token-of-the-app";
const TOKEN_HEADER: &str = "dapr-api-token";

/// Several daprds with one broker and one store.
pub(crate) struct Daprd {
    shared: Arc<Shared>,
    /// The adapter of each app-id.
    adapters: Mutex<HashMap<String, Arc<dyn Sidecar>>>,
}

#[derive(Default)]
struct Shared {
    client: Client,
    apps: Mutex<HashMap<String, App>>,
    broker: broker::Broker,
    store: store::Store,
}

/// An app whose subscriptions are made.
struct App {
    url: String,
    server: JoinHandle<()>,
    stop: CancellationToken,
    deliveries: Vec<JoinHandle<()>>,
}

impl Daprd {
    pub(crate) fn new() -> Self {
        // The client asks for a provider of TLS even if it only speaks plain HTTP.
        let _ = rustls::crypto::ring::default_provider().install_default();
        Self { shared: Arc::default(), adapters: Mutex::default() }
    }
}

#[async_trait]
impl Fixture for Daprd {
    fn sidecar(&self, app_id: &str) -> Arc<dyn Sidecar> {
        let mut adapters = self.adapters.lock().unwrap();
        let start = || -> Arc<dyn Sidecar> {
            let (url, _server) = serve(api::router(self.shared.clone(), app_id));
            let api_token = Some(API_TOKEN.to_owned());
            DaprSidecar::new(DaprConfig { base_url: url, api_token, ..DaprConfig::new(app_id) }).unwrap()
        };
        adapters.entry(app_id.to_owned()).or_insert_with(start).clone()
    }

    async fn start_app(&self, app_id: &str, subscriptions: Subscriptions, routes: Router) {
        let deliveries = subscription_router(subscriptions, Some(APP_TOKEN.to_owned()));
        let (url, server) = serve(routes.merge(deliveries));
        let request = self.shared.client.get(format!("{url}/dapr/subscribe")).header(TOKEN_HEADER, APP_TOKEN);
        let list: Vec<Value> = request.send().await.unwrap().json().await.unwrap();
        let stop = CancellationToken::new();
        let deliver = |subscription| {
            let delivery = broker::Delivery::new(self.shared.clone(), app_id, &url, subscription);
            tokio::spawn(delivery.run(stop.clone()))
        };
        let deliveries = list.into_iter().map(deliver).collect();
        self.shared.apps.lock().unwrap().insert(app_id.to_owned(), App { url, server, stop, deliveries });
    }

    async fn stop_app(&self, app_id: &str) {
        let app = self.shared.apps.lock().unwrap().remove(app_id).unwrap();
        app.stop.cancel();
        for delivery in app.deliveries {
            delivery.await.unwrap();
        }
        app.server.abort();
    }
}

/// Serves `router` on a free port until the test's runtime ends.
fn serve(router: Router) -> (String, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let listener = tokio::net::TcpListener::from_std(listener).unwrap();
    let server = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    (url, server)
}

conformance!(tokio::test, Daprd::new());
