//! What Argo CD is told: where the manifests are, what it may touch, in which order.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::{
    manifests::OBJECTS,
    support::{at, documents, list, read, root, text},
};

fn one(file: &str) -> Value {
    documents(&read(&format!("k8s/argocd/{file}.yaml"))).remove(0)
}

#[test]
fn m1_14_the_application_syncs_heals_and_prunes_what_is_there() {
    let project = one("project");
    for (name, path) in [("application", "k8s/overlays/prod"), ("secrets", "k8s/external-secrets")] {
        let application = one(name);
        assert_eq!(application["spec"]["project"], project["metadata"]["name"]);
        assert_eq!(application["spec"]["source"]["path"], path);
        assert!(root().join(path).join("kustomization.yaml").exists());
        let repository = at(&application, "spec.source.repoURL");
        assert!(list(&project, "spec.sourceRepos").contains(repository));
        let automated = at(&application, "spec.syncPolicy.automated");
        assert_eq!((&automated["prune"], &automated["selfHeal"]), (&true.into(), &true.into()));
        assert_eq!(automated["allowEmpty"], false);
        assert_eq!(at(&application, "spec.syncPolicy.retry.limit"), 5);
        assert!(list(&project, "spec.destinations").contains(&application["spec"]["destination"]));
    }
}

#[test]
fn the_project_allows_what_the_overlay_holds_and_nothing_else() {
    let project = one("project");
    let mut allowed = BTreeSet::new();
    for scope in ["clusterResourceWhitelist", "namespaceResourceWhitelist"] {
        allowed.extend(list(&project, &format!("spec.{scope}")).iter().map(|e| (text(e, "group"), text(e, "kind"))));
    }
    let mut held: BTreeSet<(&str, &str)> = OBJECTS
        .iter()
        .map(|o| (text(o, "apiVersion").rsplit_once('/').map_or("", |(group, _)| group), text(o, "kind")))
        .collect();
    held.insert(("external-secrets.io", "ExternalSecret"));
    assert_eq!(allowed, held);
    // Everything else is in the one namespace that the project may touch.
    let cluster: BTreeSet<&str> =
        list(&project, "spec.clusterResourceWhitelist").iter().map(|entry| text(entry, "kind")).collect();
    for object in OBJECTS.iter().filter(|o| !cluster.contains(text(o, "kind"))) {
        assert_eq!(object["metadata"]["namespace"], "mesh-six", "{}", object["metadata"]);
    }
}

#[test]
fn the_schema_comes_before_and_the_proof_after_each_sync() {
    let hooks: Vec<(&str, &str)> = OBJECTS
        .iter()
        .filter_map(|o| {
            Some((text(o, "metadata.name"), o["metadata"]["annotations"]["argocd.argoproj.io/hook"].as_str()?))
        })
        .collect();
    assert_eq!(hooks, [("migrate", "PreSync"), ("verify", "PostSync")]);
    let wave = |object: &Value| {
        let wave = object["metadata"]["annotations"]["argocd.argoproj.io/sync-wave"].as_str().unwrap_or("0");
        wave.parse::<i32>().unwrap()
    };
    for object in OBJECTS.iter() {
        let expected = match text(object, "kind") {
            "Namespace" => -10,
            "Component" | "Configuration" | "Resiliency" | "NetworkPolicy" => -5,
            _ => 0,
        };
        assert_eq!(wave(object), expected, "{}", object["metadata"]["name"]);
    }
}
