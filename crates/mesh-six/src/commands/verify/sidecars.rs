//! Criterion M1.7: what the Dapr sidecars say that they have loaded.

use std::collections::BTreeSet;

use mesh_six_core::{
    names::{ORCHESTRATOR, PUBSUB, STATE_STORE},
    roster::{self, Kind, SERVICES, Service},
};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{around::Sidecar, cluster::name, finding::Outcome, site::Site};

pub(super) const NO_SIDECARS: &str =
    "there are no Dapr sidecars here, or none that were named: --cluster, or --sidecar APP=URL";

/// What `/v1.0/metadata` of daprd says, as far as it matters here.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    id: String,
    #[serde(default)]
    runtime_version: String,
    #[serde(default)]
    components: Vec<Component>,
    #[serde(default)]
    subscriptions: Vec<Subscription>,
}

#[derive(Deserialize)]
struct Component {
    name: String,
    #[serde(rename = "type")]
    kind: String,
}

#[derive(Deserialize)]
struct Subscription {
    pubsubname: String,
    topic: String,
}

/// M1.7: every sidecar has loaded the components that its service needs, and has its subscriptions.
pub(super) async fn components_loaded(site: &Site) -> anyhow::Result<Outcome> {
    let sidecars = site.sidecars().await?;
    if sidecars.is_empty() {
        return Ok(Outcome::not_applicable(NO_SIDECARS));
    }
    let beside = SERVICES.iter().filter(|service| service.built && service.has_sidecar());
    let absent: Vec<&str> =
        beside.map(|s| s.name).filter(|name| !sidecars.iter().any(|s| s.app == *name && s.api.is_some())).collect();
    let (mut problems, mut evidence) = (Vec::new(), Vec::new());
    for sidecar in &sidecars {
        let (Some(url), Some(service)) = (&sidecar.api, roster::find(&sidecar.app)) else { continue };
        let metadata: Metadata = match site.around.metadata(url).await {
            Ok(metadata) => metadata,
            Err(error) => match site.out_of_reach(&error) {
                Some(reason) => return Ok(Outcome::not_applicable(reason)),
                None => return Err(error),
            },
        };
        problems.extend(lacks(service, &metadata, &deployed(site, sidecar).await?));
        evidence.push(described(&metadata));
    }
    // Replicas say the same.
    problems.dedup();
    evidence.dedup();
    let outcome = Outcome::of(&problems, evidence.into());
    if absent.is_empty() {
        return Ok(outcome);
    }
    Ok(outcome.at_best(format!("where are the sidecars of {}? Name them with --sidecar", absent.join(", "))))
}

/// The components in the cluster that a sidecar must load.
async fn deployed<'s>(site: &'s Site, sidecar: &Sidecar) -> anyhow::Result<Vec<&'s str>> {
    let Some(cluster) = &site.cluster else { return Ok(Vec::new()) };
    let scoped = cluster.seen().await?.components.iter().filter(|component| {
        let scopes = component.data["scopes"].as_array();
        scopes.is_none_or(|scopes| scopes.iter().any(|scope| *scope == sidecar.app))
    });
    Ok(scoped.map(name).collect())
}

fn lacks(service: &Service, metadata: &Metadata, deployed: &[&str]) -> Vec<String> {
    let loaded: BTreeSet<&str> = metadata.components.iter().map(|component| component.name.as_str()).collect();
    let mut needed: BTreeSet<&str> = metadata.subscriptions.iter().map(|s| s.pubsubname.as_str()).collect();
    needed.extend(deployed);
    if service.kind == Kind::Agent || service.name == ORCHESTRATOR {
        needed.extend([PUBSUB, STATE_STORE]);
    }
    let mut problems: Vec<String> = needed.difference(&loaded).map(|name| format!("{name} is not loaded")).collect();
    let topics: BTreeSet<&str> = metadata.subscriptions.iter().map(|s| s.topic.as_str()).collect();
    let wanted: BTreeSet<&str> = service.subscribes.iter().copied().collect();
    problems.extend(wanted.difference(&topics).map(|topic| format!("no subscription of {topic}")));
    problems.extend(topics.difference(&wanted).map(|topic| format!("a subscription of {topic}")));
    if metadata.id != service.name {
        problems.push(format!("it is the sidecar of {:?}", metadata.id));
    }
    problems.into_iter().map(|what| format!("{}: {what}", service.name)).collect()
}

fn described(metadata: &Metadata) -> Value {
    let components: Vec<String> =
        metadata.components.iter().map(|component| format!("{} ({})", component.name, component.kind)).collect();
    let subscriptions: Vec<String> =
        metadata.subscriptions.iter().map(|s| format!("{} of {}", s.topic, s.pubsubname)).collect();
    json!({ "app": metadata.id, "dapr": metadata.runtime_version, "components": components,
        "subscriptions": subscriptions })
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test that cannot go on must fail")]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_named() {
        let service = roster::find("simple-agent").unwrap();
        let told = |value: Value| serde_json::from_value::<Metadata>(value).unwrap();
        let whole = json!({ "id": "simple-agent", "runtimeVersion": "1.18.1", "components": [
            { "name": "agent-pubsub", "type": "pubsub.rabbitmq", "version": "v1", "capabilities": [] },
            { "name": "agent-statestore", "type": "state.redis", "version": "v1" },
        ], "subscriptions": [{ "pubsubname": "agent-pubsub", "topic": "tasks.simple-agent", "type": "PROGRAMMATIC" }] });
        assert_eq!(lacks(service, &told(whole.clone()), &["agent-pubsub"]), Vec::<String>::new());
        assert_eq!(lacks(service, &told(whole), &["another"]), ["simple-agent: another is not loaded"]);
        let bare = told(json!({ "id": "someone" }));
        assert_eq!(
            lacks(service, &bare, &[]),
            [
                "simple-agent: agent-pubsub is not loaded",
                "simple-agent: agent-statestore is not loaded",
                "simple-agent: no subscription of tasks.simple-agent",
                "simple-agent: it is the sidecar of \"someone\"",
            ]
        );
    }
}
