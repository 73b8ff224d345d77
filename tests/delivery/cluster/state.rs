//! A cluster as it is after the prod overlay was applied: what the overlay renders, and the pods that would be made.

use std::collections::BTreeMap;

use mesh_six_core::time;
use serde_json::{Value, json};

use crate::{
    manifests::OBJECTS,
    support::{at, documents, list, read, text},
};

/// Objects by kind.
pub(crate) struct State {
    pub(crate) objects: BTreeMap<&'static str, Vec<Value>>,
    /// Of the accounts that may ask.
    pub(crate) roles: Vec<Value>,
}

/// Where services and their sidecars listen.
pub(crate) struct Ports {
    /// By service.
    pub(crate) sidecars: BTreeMap<&'static str, u16>,
    /// Of all of them.
    pub(crate) app: u16,
}

impl State {
    /// With pods an hour old, whose sidecars answer at `ports`.
    pub(crate) fn new(ports: &Ports) -> Self {
        let of = |kind: &str| OBJECTS.iter().filter(|o| o["kind"] == kind).cloned().collect::<Vec<_>>();
        let mut objects = BTreeMap::new();
        for (kind, all) in
            [("Deployment", of("Deployment")), ("Service", of("Service")), ("Component", of("Component"))]
        {
            objects.insert(kind, all);
        }
        let pods = objects["Deployment"].iter().flat_map(|deployment| pods(deployment, ports)).collect();
        objects.insert("Pod", pods);
        let mut application = documents(&read("k8s/argocd/application.yaml")).remove(0);
        application["status"] = json!({
            "sync": { "status": "Synced", "revision": "0123456789abcdef0123456789abcdef01234567" },
            "health": { "status": "Healthy" },
            "operationState": { "phase": "Running" },
        });
        objects.insert("Application", vec![application]);
        let mut roles = of("Role");
        roles.retain(|role| role["metadata"]["name"] == "verify");
        roles.extend(documents(&read("k8s/argocd/verify.yaml")).into_iter().filter(|o| o["kind"] == "Role"));
        Self { objects, roles }
    }

    /// The first pod of a service.
    pub(crate) fn pod(&mut self, service: &str) -> &mut Value {
        let pods = self.objects.get_mut("Pod").unwrap();
        pods.iter_mut().find(|pod| pod["metadata"]["labels"]["app"] == service).unwrap()
    }

    /// Whether the accounts' Roles allow it.
    pub(crate) fn allows(&self, namespace: &str, group: &str, resource: &str, verb: &str, name: &str) -> bool {
        let holds = |rule: &Value, field: &str, wanted: &str| list(rule, field).iter().any(|one| one == wanted);
        let roles = self.roles.iter().filter(|role| role["metadata"]["namespace"] == namespace);
        roles.flat_map(|role| list(role, "rules")).any(|rule| {
            let named = rule["resourceNames"].is_null() || holds(rule, "resourceNames", name);
            named && holds(rule, "apiGroups", group) && holds(rule, "resources", resource) && holds(rule, "verbs", verb)
        })
    }
}

/// What a Deployment's controller, Dapr's injector and the kubelet make of it.
fn pods(deployment: &Value, ports: &Ports) -> Vec<Value> {
    let name = text(deployment, "metadata.name");
    let begun = time::format(time::now() - chrono::TimeDelta::hours(1));
    let replicas = at(deployment, "spec.replicas").as_u64().unwrap_or(1);
    let running = |name: &str, image: &str, id: &str| {
        json!({
            "name": name, "image": image, "imageID": id, "ready": true, "started": true, "restartCount": 0,
            "containerID": "containerd://0", "state": { "running": { "startedAt": begun } }, "lastState": {},
        })
    };
    let pod = |number: u64| {
        let mut pod = at(deployment, "spec.template").clone();
        pod["metadata"]["name"] = format!("{name}-7d4b9c-{number}").into();
        pod["metadata"]["namespace"] = "mesh-six".into();
        pod["spec"]["containers"][0]["ports"][0]["containerPort"] = ports.app.into();
        let image = text(&pod, "spec.containers.0.image").to_owned();
        let own = running("app", &image, &format!("{}@sha256:{:064}", image.rsplit_once(':').unwrap().0, 7));
        pod["status"] = json!({
            "phase": "Running", "podIP": "127.0.0.1", "hostIP": "127.0.0.1", "startTime": begun,
            "conditions": [{ "type": "Ready", "status": "True", "lastTransitionTime": begun }],
            "containerStatuses": [own],
        });
        if let Some(port) = ports.sidecars.get(name) {
            pod["spec"]["initContainers"] = json!([sidecar(*port)]);
            pod["status"]["initContainerStatuses"] =
                json!([running("daprd", "ghcr.io/dapr/daprd:1.18.1", "ghcr.io/dapr/daprd@sha256:1")]);
        }
        pod
    };
    (0..replicas).map(pod).collect()
}

/// Dapr's container as its injector writes it, as far as it matters here.
fn sidecar(port: u16) -> Value {
    json!({
        "name": "daprd", "image": "ghcr.io/dapr/daprd:1.18.1", "restartPolicy": "Always",
        "args": ["/daprd", "--dapr-http-port", "3500"],
        "ports": [
            { "containerPort": 3500, "name": "dapr-http" }, { "containerPort": 50001, "name": "dapr-grpc" },
            { "containerPort": 50002, "name": "dapr-internal" }, { "containerPort": port, "name": "dapr-metrics" },
        ],
        "readinessProbe": { "httpGet": { "path": "/v1.0/healthz", "port": port }, "periodSeconds": 1 },
    })
}
