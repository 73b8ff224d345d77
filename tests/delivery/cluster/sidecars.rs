//! Dapr sidecars as far as `verify` asks them.

use std::collections::BTreeMap;

use axum::{Json, Router, routing::get};
use mesh_six_core::{
    names::EVENT_LOGGER,
    roster::{SERVICES, Service},
};
use serde_json::{Value, json};
use tokio::{net::TcpListener, task::JoinSet};

use crate::{
    manifests::OBJECTS,
    support::{list, text},
};

/// A sidecar for each built service that has one; they end with this value.
pub(crate) struct Sidecars {
    pub(crate) ports: BTreeMap<&'static str, u16>,
    _servers: JoinSet<()>,
}

impl Sidecars {
    /// All as they should be, but that `without` is a component that none has loaded.
    pub(crate) async fn start(without: &str) -> Self {
        let (mut ports, mut servers) = (BTreeMap::new(), JoinSet::new());
        for service in SERVICES.iter().filter(|service| service.built && service.has_sidecar()) {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            ports.insert(service.name, listener.local_addr().unwrap().port());
            let metadata = metadata(service, without);
            let metrics = format!(
                "# TYPE dapr_http_server_request_count counter\n\
                 dapr_http_server_request_count{{app_id=\"{}\",method=\"POST\",path=\"/v1.0/publish\",status=\"204\"}} 7\n",
                service.name
            );
            let router = Router::new()
                .route("/v1.0/metadata", get(async move || Json(metadata)))
                .route("/metrics", get(async move || metrics));
            servers.spawn(async move { axum::serve(listener, router).await.unwrap() });
        }
        Self { ports, _servers: servers }
    }
}

/// What daprd 1.18 answers.
fn metadata(service: &Service, without: &str) -> Value {
    let components = OBJECTS.iter().filter(|o| o["kind"] == "Component" && text(o, "metadata.name") != without);
    let components = components.filter(|o| list(o, "scopes").iter().any(|scope| scope == service.name));
    let components: Vec<Value> = components
        .map(|o| json!({ "name": o["metadata"]["name"], "type": o["spec"]["type"], "version": "v1", "capabilities": [] }))
        .collect();
    let component = |topic: &str| match topic {
        _ if service.name != EVENT_LOGGER => "agent-pubsub",
        "task-results" => "events-results",
        "task-events" => "events-tasks",
        "task-progress" => "events-progress",
        _ => "events-dead",
    };
    let subscriptions: Vec<Value> = service
        .subscribes
        .iter()
        .map(|topic| {
            json!({ "pubsubname": component(topic), "topic": topic, "rules": [{ "path": "/x" }],
                "deadLetterTopic": "dead-letter", "type": "PROGRAMMATIC" })
        })
        .collect();
    json!({
        "id": service.name, "runtimeVersion": "1.18.1", "components": components, "subscriptions": subscriptions,
        "extended": { "daprRuntimeVersion": "1.18.1" },
        "appConnectionProperties": { "port": 3000, "protocol": "http", "channelAddress": "127.0.0.1" },
        "actorRuntime": { "runtimeStatus": "DISABLED", "hostReady": false }, "scheduler": {}, "workflows": {},
    })
}
