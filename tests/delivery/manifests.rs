//! The manifests as kustomize renders them: reviewed, valid, and one of each for every service that is built.

use std::{collections::BTreeSet, fs, sync::LazyLock};

use mesh_six_core::roster::{SERVICES, Service};
use serde_json::Value;

use crate::support::{assert_none, at, documents, faults, kustomize, list, read, root, text};

/// What kustomize makes of the prod overlay.
pub(crate) static PROD: LazyLock<String> = LazyLock::new(|| kustomize(&root().join("k8s/overlays/prod")));
/// Its objects.
pub(crate) static OBJECTS: LazyLock<Vec<Value>> = LazyLock::new(|| documents(&PROD));

/// The object of this kind and name in the prod overlay.
pub(crate) fn object(kind: &str, name: &str) -> Option<&'static Value> {
    OBJECTS.iter().find(|o| o["kind"] == kind && o["metadata"]["name"] == name)
}

/// The pod that an object makes, if it makes any.
pub(crate) fn pod(object: &Value) -> Option<&Value> {
    let path = match object["kind"].as_str()? {
        "Deployment" | "Job" => "spec.template",
        "CronJob" => "spec.jobTemplate.spec.template",
        _ => return None,
    };
    Some(at(object, path))
}

fn built() -> impl Iterator<Item = &'static Service> {
    SERVICES.iter().filter(|service| service.built)
}

#[test]
fn render_base() {
    insta::assert_snapshot!(kustomize(&root().join("k8s/base")));
}

#[test]
fn render_dev() {
    insta::assert_snapshot!(kustomize(&root().join("k8s/overlays/dev")));
}

#[test]
fn render_prod() {
    insta::assert_snapshot!(PROD.as_str());
}

#[test]
fn m1_8_every_object_is_valid_and_an_unknown_field_is_a_fault() {
    let mut all = PROD.clone();
    for folder in ["k8s/base", "k8s/overlays/dev", "k8s/managed-namespace"] {
        all = all + "---\n" + &kustomize(&root().join(folder));
    }
    for file in ["argocd/application", "argocd/project", "argocd/secrets", "argocd/verify", "secrets.example"] {
        all = all + "---\n" + &read(&format!("k8s/{file}.yaml"));
    }
    assert_none(&faults(&all));
    for (field, kind) in [
        ("readOnlyRootFilesystem", "Deployment"),
        ("maxRetries", "Resiliency"),
        ("selfHeal", "Application"),
        ("concurrencyPolicy", "CronJob"),
    ] {
        let one =
            all.split("---\n").find(|object| object.contains(&format!("kind: {kind}\n")) && object.contains(field));
        let found = faults(&one.unwrap().replace(field, "unheardOf"));
        assert!(found.iter().any(|fault| fault.starts_with(kind) && fault.contains("unheardOf")), "{found:?}");
    }
}

#[test]
fn m1_8_every_built_service_has_its_objects() {
    let mut problems = Vec::new();
    for service in built() {
        let name = service.name;
        for kind in ["Deployment", "Service", "PodDisruptionBudget"] {
            if object(kind, name).is_none() {
                problems.push(format!("{name} is built but has no {kind}: run cargo xtask generate"));
            }
        }
        let Some(deployment) = object("Deployment", name) else { continue };
        let template = at(deployment, "spec.template");
        let container = at(template, "spec.containers.0");
        let annotation = |key: &str| template["metadata"]["annotations"][format!("dapr.io/{key}")].as_str();
        let sidecar = [("enabled", "true"), ("app-id", name), ("config", "mesh-six-config"), ("metrics-port", "9090")];
        let mut expected = vec![
            (text(container, "image").contains(&format!("mesh-six/{name}")), "image"),
            (at(container, "ports.0.containerPort") == service.port, "containerPort"),
            (at(template, "spec.securityContext.runAsUser") == 65532, "runAsUser"),
            (at(deployment, "spec.selector.matchLabels.app") == name, "selector"),
            (container["command"].is_null() && container["args"].is_null(), "command: the image has its own"),
            (at(object("Service", name).unwrap_or(&Value::Null), "spec.ports.0.targetPort") == "http", "Service"),
        ];
        if service.has_sidecar() {
            expected.extend(sidecar.map(|(key, value)| (annotation(key) == Some(value), key)));
            expected.push((annotation("app-port") == Some(&service.port.to_string()), "app-port"));
        } else {
            expected.push((annotation("enabled") != Some("true"), "a sidecar that it should not have"));
        }
        problems.extend(expected.iter().filter(|(holds, _)| !holds).map(|(_, what)| format!("{name}: {what}")));
    }
    assert_none(&problems);
}

#[test]
fn m1_8_nothing_is_deployed_that_is_not_built() {
    let names: BTreeSet<&str> = built().map(|service| service.name).collect();
    let mut problems = Vec::new();
    for deployment in OBJECTS.iter().filter(|o| o["kind"] == "Deployment") {
        let name = text(deployment, "metadata.name");
        if !names.contains(name) {
            problems.push(format!("Deployment {name}: services.toml does not call it built"));
        }
    }
    for entry in fs::read_dir(root().join("k8s/base")).unwrap() {
        let folder = entry.unwrap();
        let name = folder.file_name().into_string().unwrap();
        if folder.path().join("deployment.yaml").exists() {
            if !names.contains(name.as_str()) {
                problems.push(format!("k8s/base/{name}: services.toml does not call it built"));
            }
            let files = fs::read_dir(folder.path()).unwrap();
            let lines: usize =
                files.map(|file| fs::read_to_string(file.unwrap().path()).unwrap().lines().count()).sum();
            if lines > 10 {
                problems.push(format!("k8s/base/{name}: {lines} lines; what services share is in k8s/components"));
            }
        }
    }
    assert_none(&problems);
}

#[test]
fn every_container_has_no_more_rights_than_it_needs() {
    let mut problems = Vec::new();
    for object in OBJECTS.iter() {
        let Some(template) = pod(object) else { continue };
        let name = text(object, "metadata.name");
        let spec = &template["spec"];
        let account = spec["automountServiceAccountToken"].as_bool();
        let mut expected = vec![
            (at(spec, "securityContext.runAsNonRoot") == true, "runAsNonRoot"),
            (at(spec, "securityContext.seccompProfile.type") == "RuntimeDefault", "seccompProfile"),
            (account == Some(false) || !spec["serviceAccountName"].is_null(), "automountServiceAccountToken"),
            (template["metadata"]["labels"]["app.kubernetes.io/part-of"] == "mesh-six", "label"),
        ];
        for container in list(spec, "containers") {
            let image = text(container, "image");
            expected.extend([
                (at(container, "securityContext.readOnlyRootFilesystem") == true, "readOnlyRootFilesystem"),
                (at(container, "securityContext.allowPrivilegeEscalation") == false, "allowPrivilegeEscalation"),
                (list(container, "securityContext.capabilities.drop") == ["ALL"], "capabilities"),
                (at(container, "resources.limits.memory").is_string(), "limits"),
                (at(container, "resources.requests.memory").is_string(), "requests"),
                (image.contains([':', '@']) && !image.ends_with(":latest"), "an image without a fixed tag"),
            ]);
            if object["kind"] == "Deployment" {
                let probe = |name: &str, path: &str| at(container, &format!("{name}.httpGet.path")) == path;
                expected.extend([
                    (probe("startupProbe", "/healthz"), "startupProbe"),
                    (probe("livenessProbe", "/healthz"), "livenessProbe"),
                    (probe("readinessProbe", "/readyz"), "readinessProbe"),
                ]);
            }
        }
        problems.extend(expected.iter().filter(|(holds, _)| !holds).map(|(_, what)| format!("{name}: {what}")));
    }
    assert_none(&problems);
}

/// What an agent needs after it gave its tasks up, until its process has ended: results, events, open requests.
const AFTER_THE_DRAIN: i64 = 25;

#[test]
fn an_agent_may_finish_its_tasks_within_its_pods_grace_period() {
    let agents = built().filter(|service| service.kind == mesh_six_core::roster::Kind::Agent);
    for deployment in agents.filter_map(|service| object("Deployment", service.name)) {
        let spec = at(deployment, "spec.template.spec");
        let drain = list(spec, "containers.0.env").iter().find(|variable| variable["name"] == "DRAIN_SECONDS");
        let drain: i64 = drain.map_or("", |variable| text(variable, "value")).parse().unwrap();
        // As long as a task takes that says nothing about its time.
        assert!(drain >= i64::from(mesh_six_core::task::default_timeout()), "{drain}");
        let grace = spec["terminationGracePeriodSeconds"].as_i64().unwrap();
        assert!(drain + AFTER_THE_DRAIN <= grace, "{drain} of {grace}");
    }
}
