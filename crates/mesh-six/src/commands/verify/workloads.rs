//! Criteria of what is deployed: M1.8, M1.9, D.1.

use std::collections::BTreeMap;

use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{Container, Pod},
};
use mesh_six_core::roster::{SERVICES, Service};
use serde_json::{Map, Value, json};

use super::{
    cluster::{self, NO_CLUSTER, Seen, app, containers, is_ending, name, statuses},
    finding::Outcome,
    site::Site,
};

fn built() -> impl Iterator<Item = &'static Service> {
    SERVICES.iter().filter(|service| service.built)
}

/// M1.8: a Deployment and a Service for each built service, and what its sidecar is told.
pub(super) async fn deployed(site: &Site) -> anyhow::Result<Outcome> {
    let Some(cluster) = &site.cluster else { return Ok(Outcome::not_applicable(NO_CLUSTER)) };
    let seen = cluster.seen().await?;
    let (mut problems, mut evidence) = (Vec::new(), Map::new());
    for service in built() {
        let found = seen.deployments.iter().find(|deployment| name(*deployment) == service.name);
        let wrong = found.map_or_else(|| vec!["there is no Deployment".to_owned()], |d| misfits(service, d));
        problems.extend(wrong.iter().map(|what| format!("{}: {what}", service.name)));
        if !seen.services.iter().any(|other| name(other) == service.name) {
            problems.push(format!("{}: there is no Service", service.name));
        }
        let generation = found.and_then(|deployment| deployment.metadata.generation);
        evidence.insert(service.name.to_owned(), json!({ "generation": generation, "sidecar": service.has_sidecar() }));
    }
    let strangers = seen.deployments.iter().map(name).filter(|other| built().all(|service| service.name != *other));
    problems.extend(strangers.map(|other| format!("{other}: a Deployment of no built service")));
    Ok(Outcome::of(&problems, evidence.into()))
}

/// What of a Deployment's sidecar does not fit its service.
fn misfits(service: &Service, deployment: &Deployment) -> Vec<String> {
    let template = deployment.spec.as_ref().and_then(|spec| spec.template.metadata.as_ref());
    let annotation = |key: &str| template?.annotations.as_ref()?.get(&format!("dapr.io/{key}")).map(String::as_str);
    if !service.has_sidecar() {
        let injected = annotation("enabled") == Some("true");
        return injected.then(|| "has a sidecar that it should not have".to_owned()).into_iter().collect();
    }
    let port = service.port.to_string();
    let expected = [("enabled", "true"), ("app-id", service.name), ("app-port", &port)];
    let wrong = expected.iter().filter(|(key, value)| annotation(key) != Some(value));
    wrong.map(|(key, value)| format!("dapr.io/{key} is not {value}")).collect()
}

/// The pods of a service that are not on their way out.
fn pods<'a>(seen: &'a Seen, service: &Service) -> Vec<&'a Pod> {
    seen.pods.iter().filter(|pod| app(pod) == service.name && !is_ending(pod)).collect()
}

/// M1.9: each built service's pods run without rights and have answered their probe.
pub(super) async fn confined(site: &Site) -> anyhow::Result<Outcome> {
    let Some(cluster) = &site.cluster else { return Ok(Outcome::not_applicable(NO_CLUSTER)) };
    let seen = cluster.seen().await?;
    let (mut problems, mut evidence) = (Vec::new(), Map::new());
    for service in built() {
        let pods = pods(seen, service);
        if pods.is_empty() {
            problems.push(format!("{}: no pod", service.name));
        }
        for pod in &pods {
            let wrong = unconfined(pod).into_iter().chain(unready(pod));
            problems.extend(wrong.map(|what| format!("{}: {what}", name(*pod))));
        }
        evidence.insert(service.name.to_owned(), pods.iter().map(|pod| name(*pod)).collect());
    }
    Ok(Outcome::of(&problems, evidence.into()))
}

/// The rights that a pod's own container has beyond what it needs.
fn unconfined(pod: &Pod) -> Vec<&'static str> {
    let Some(container) = own(pod) else { return vec!["no container of ours"] };
    let (here, outside) =
        (container.security_context.as_ref(), pod.spec.as_ref().and_then(|spec| spec.security_context.as_ref()));
    let non_root = here.and_then(|c| c.run_as_non_root).or_else(|| outside.and_then(|c| c.run_as_non_root));
    let dropped = here.and_then(|c| c.capabilities.as_ref()?.drop.as_deref()).unwrap_or_default();
    let held = [
        (non_root == Some(true), "may run as root"),
        (here.and_then(|c| c.read_only_root_filesystem) == Some(true), "its root can be written to"),
        (here.and_then(|c| c.allow_privilege_escalation) == Some(false), "may gain privileges"),
        (dropped == ["ALL"], "keeps capabilities"),
        (
            container.startup_probe.as_ref().and_then(|p| p.http_get.as_ref()?.path.as_deref()) == Some("/healthz"),
            "is not asked for /healthz",
        ),
    ];
    held.iter().filter(|(holds, _)| !holds).map(|(_, what)| *what).collect()
}

/// What a pod lacks to be ready: its startup probe is `/healthz`.
fn unready(pod: &Pod) -> Vec<&'static str> {
    let status = pod.status.as_ref();
    let ready = status.and_then(|s| s.conditions.as_ref()?.iter().find(|c| c.type_ == "Ready"));
    let started = statuses(pod).any(|status| status.name == OWN && status.started == Some(true));
    let held = [
        (status.and_then(|s| s.phase.as_deref()) == Some("Running"), "does not run"),
        (ready.is_some_and(|condition| condition.status == "True"), "is not ready"),
        (started, "has not answered /healthz"),
    ];
    held.iter().filter(|(holds, _)| !holds).map(|(_, what)| *what).collect()
}

/// The name of our container in a pod.
const OWN: &str = "app";

fn own(pod: &Pod) -> Option<&Container> {
    containers(pod).find(|container| container.name == OWN)
}

/// D.1: the images came from where the manifests say, all by one tag where they go by tags.
pub(super) async fn images(site: &Site) -> anyhow::Result<Outcome> {
    let Some(cluster) = &site.cluster else { return Ok(Outcome::not_applicable(NO_CLUSTER)) };
    let seen = cluster.seen().await?;
    let (mut problems, mut evidence, mut tags) = (Vec::new(), Map::new(), BTreeMap::<&str, usize>::new());
    for service in built() {
        for pod in pods(seen, service) {
            let image = own(pod).and_then(|container| container.image.as_deref()).unwrap_or_default();
            let pulled = statuses(pod).find(|status| status.name == OWN).map_or("", |status| &status.image_id);
            let (repository, version) = parted(image);
            if !repository.ends_with(&format!("mesh-six/{}", service.name)) {
                problems.push(format!("{}: runs {image}", cluster::name(pod)));
            }
            if pulled.is_empty() || version.starts_with("sha256:") && !pulled.ends_with(version) {
                problems.push(format!("{}: {image} was not pulled", cluster::name(pod)));
            }
            if !version.starts_with("sha256:") {
                *tags.entry(version).or_default() += 1;
            }
            evidence.insert(service.name.to_owned(), json!({ "image": image, "pulled": pulled }));
        }
        if !evidence.contains_key(service.name) {
            problems.push(format!("{}: no pod", service.name));
        }
    }
    if tags.len() > 1 {
        problems.push(format!("several tags: {}", tags.into_keys().collect::<Vec<_>>().join(", ")));
    }
    let missing = SERVICES.iter().filter(|service| !service.built).count();
    let outcome = Outcome::of(&problems, Value::from(evidence));
    // Sixteen are asked for.
    Ok(if missing > 0 { outcome.at_best(format!("{missing} services are still to be built")) } else { outcome })
}

/// Repository and tag or digest of an image's reference.
fn parted(image: &str) -> (&str, &str) {
    if let Some(parts) = image.split_once('@') {
        return parts;
    }
    match image.rsplit_once(':') {
        Some((repository, tag)) if !tag.contains('/') => (repository, tag),
        _ => (image, ""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_has_a_repository_and_a_version() {
        assert_eq!(parted("r.example:5000/t/mesh-six/a:1"), ("r.example:5000/t/mesh-six/a", "1"));
        assert_eq!(parted("r.example:5000/mesh-six/a"), ("r.example:5000/mesh-six/a", ""));
        assert_eq!(parted("r/mesh-six/a@sha256:0"), ("r/mesh-six/a", "sha256:0"));
    }
}
