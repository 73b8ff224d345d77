//! The adapter to Dapr beside real sidecars, RabbitMQ and Redis: the port's conformance.
//!
//! Needs a network namespace in which sidecars find each other: `cargo xtask test` makes one.

use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Weak},
    time::Duration,
};

use async_trait::async_trait;
use axum::Router;
use http::Method;
use mesh_six_sidecar::{APP_TOKEN_HEADER, DaprConfig, DaprSidecar, Sidecar, subscription_router};
use mesh_six_testing::launch::{
    Daprd, DaprdConfig, RabbitMq, RabbitMqConfig, Redis, RedisConfig, Surroundings, render, server_port,
};
use reqwest::Client;
use serde_json::Value;
use tempfile::TempDir;
use tokio::{net::TcpListener, sync::Mutex, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use crate::conformance::{Fixture, Subscriptions, conformance, forged};

/// What the sidecars want from their apps.
const API_TOKEN: &str = "token-of-the-sidecar";
/// What the apps want from their sidecars.
const APP_TOKEN: &str = "token-of-the-app";
/// Longer than that of the services: a sidecar that starts on a busy machine takes its time.
const PUBLISH_WAIT: Duration = Duration::from_secs(40);

/// Broker and store of all tests that run at the same time. They go with the last of them.
struct Servers {
    rabbitmq: RabbitMq,
    redis: Redis,
    // Removed last.
    folder: TempDir,
}

impl Servers {
    async fn shared() -> Arc<Self> {
        static SHARED: Mutex<Weak<Servers>> = Mutex::const_new(Weak::new());
        let mut shared = SHARED.lock().await;
        if let Some(servers) = shared.upgrade() {
            return servers;
        }
        let folder = tempfile::tempdir().unwrap();
        let (rabbitmq, redis) = tokio::try_join!(
            RabbitMq::start(RabbitMqConfig::new(folder.path().join("rabbitmq"))),
            Redis::start(RedisConfig::new(folder.path().join("redis"))),
        )
        .unwrap();
        let servers = Arc::new(Self { rabbitmq, redis, folder });
        *shared = Arc::downgrade(&servers);
        servers
    }
}

/// Real sidecars of a test's app-ids.
struct BesideDapr {
    // Ended before the servers.
    sidecars: Mutex<HashMap<String, Stand>>,
    client: Client,
    folder: TempDir,
    servers: Arc<Servers>,
}

/// A sidecar and the place of its app.
struct Stand {
    daprd: Daprd,
    app_port: u16,
    adapter: Arc<dyn Sidecar>,
    app: Option<(CancellationToken, JoinHandle<()>)>,
}

impl BesideDapr {
    async fn start() -> Self {
        // The client asks for a provider of TLS even if it only speaks plain HTTP.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = Client::builder().no_proxy().tls_certs_only([]).build().unwrap();
        let servers = Servers::shared().await;
        let folder = tempfile::tempdir_in(servers.folder.path()).unwrap();
        Self { sidecars: Mutex::default(), client, folder, servers }
    }

    async fn stand(&self, app_id: &str) -> Stand {
        let folder = self.folder.path().join(app_id);
        let service = |of: &str| (app_id.to_owned(), of.to_owned());
        let surroundings = Surroundings {
            broker_url: self.servers.rabbitmq.url(),
            redis_address: self.servers.redis.address(),
            redis_password: self.servers.redis.password().to_owned(),
            otlp: None,
            also: vec![service("orchestrator"), service("event-logger")],
        };
        let rendered = render(&surroundings, &folder).unwrap();
        let app_port = server_port().unwrap();
        let daprd = Daprd::start(DaprdConfig {
            app_port: Some(app_port),
            configuration: Some(open_to_all(&rendered.configuration)),
            api_token: Some(API_TOKEN.to_owned()),
            app_token: Some(APP_TOKEN.to_owned()),
            ..DaprdConfig::new(app_id, rendered.resources, folder)
        });
        let daprd = daprd.await.unwrap();
        let adapter = adapter(app_id, &daprd, Some(API_TOKEN));
        Stand { daprd, app_port, adapter, app: None }
    }
}

/// Without the rules of who may call whom, which name the services of the mesh.
fn open_to_all(configuration: &Path) -> PathBuf {
    let mut whole: Value = serde_json::from_slice(&fs::read(configuration).unwrap()).unwrap();
    whole["spec"].as_object_mut().unwrap().remove("accessControl").unwrap();
    fs::write(configuration, whole.to_string()).unwrap();
    configuration.to_owned()
}

fn adapter(app_id: &str, daprd: &Daprd, token: Option<&str>) -> Arc<dyn Sidecar> {
    let config = DaprConfig {
        base_url: daprd.url(),
        api_token: token.map(str::to_owned),
        publish_wait: PUBLISH_WAIT,
        ..DaprConfig::new(app_id)
    };
    DaprSidecar::new(config).unwrap()
}

#[async_trait(?Send)]
impl Fixture for BesideDapr {
    const KEEPS_ORDER: bool = false;
    const KEEPS_NUMBERS: bool = false;
    const KNOWS_WHO_IS_AWAY: bool = true;

    async fn sidecar(&self, app_id: &str) -> Arc<dyn Sidecar> {
        let mut sidecars = self.sidecars.lock().await;
        if !sidecars.contains_key(app_id) {
            sidecars.insert(app_id.to_owned(), self.stand(app_id).await);
        }
        sidecars[app_id].adapter.clone()
    }

    async fn start_app(&self, app_id: &str, subscriptions: Subscriptions, routes: Router) {
        self.sidecar(app_id).await;
        let mut sidecars = self.sidecars.lock().await;
        let stand = sidecars.get_mut(app_id).unwrap();
        let app = routes.merge(subscription_router(subscriptions, Some(APP_TOKEN.to_owned())));
        let listener = TcpListener::bind(("127.0.0.1", stand.app_port)).await.unwrap();
        let stop = CancellationToken::new();
        let serving = axum::serve(listener, app).with_graceful_shutdown(stop.clone().cancelled_owned());
        stand.app = Some((stop, tokio::spawn(async move { serving.await.unwrap() })));
        stand.daprd.wait_subscribed().await.unwrap();
    }

    async fn stop_app(&self, app_id: &str) {
        let app = self.sidecars.lock().await.get_mut(app_id).unwrap().app.take();
        let (stop, serving) = app.unwrap();
        stop.cancel();
        serving.await.unwrap();
    }

    fn app_token(&self) -> String {
        APP_TOKEN.to_owned()
    }

    async fn knock(&self, app_id: &str, method: Method, path: &str, token: Option<&str>) -> u16 {
        let url = format!("http://127.0.0.1:{}{path}", self.sidecars.lock().await[app_id].app_port);
        let mut request = self.client.request(method, url).body(forged().to_string());
        if let Some(token) = token {
            request = request.header(APP_TOKEN_HEADER, token);
        }
        request.send().await.unwrap().status().as_u16()
    }

    async fn end_sidecar(&self, app_id: &str) -> bool {
        self.sidecars.lock().await.get_mut(app_id).unwrap().daprd.process().kill_nine();
        true
    }

    async fn start_sidecar(&self, app_id: &str) {
        self.sidecars.lock().await.get_mut(app_id).unwrap().daprd.process().start().unwrap();
    }

    async fn stranger(&self, app_id: &str, token: Option<&str>) -> Option<Arc<dyn Sidecar>> {
        Some(adapter(app_id, &self.sidecars.lock().await[app_id].daprd, token))
    }
}

impl Drop for BesideDapr {
    /// At once: a sidecar would wait for calls that hang.
    fn drop(&mut self) {
        for stand in self.sidecars.get_mut().values_mut() {
            stand.daprd.process().kill_nine();
        }
    }
}

conformance!(
    [tokio::test, ignore = "runs beside real sidecars in a network namespace: cargo xtask test"],
    BesideDapr::start().await
);
