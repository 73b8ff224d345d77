//! Ports, and who may reach whom: what is named exists.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::{
    manifests::{OBJECTS, object, pod},
    support::{assert_none, list, text},
};

#[test]
fn ports_of_services_policies_and_probes_are_ports_of_containers() {
    let (mut problems, mut ports) = (Vec::new(), BTreeSet::new());
    for template in OBJECTS.iter().filter_map(pod) {
        for container in list(template, "spec.containers") {
            let named: BTreeSet<&str> = list(container, "ports").iter().map(|port| text(port, "name")).collect();
            ports.extend(list(container, "ports").iter().filter_map(|port| port["containerPort"].as_u64()));
            for probe in ["startupProbe", "livenessProbe", "readinessProbe"] {
                if let Some(port) = container[probe]["httpGet"]["port"].as_str()
                    && !named.contains(port)
                {
                    problems.push(format!("{probe} of {}: there is no port {port}", text(container, "image")));
                }
            }
        }
    }
    // Dapr's own: between sidecars, of their metadata, and of their metrics.
    ports.extend([50_002, 3_501, 9_090]);
    for policy in OBJECTS.iter().filter(|o| o["kind"] == "NetworkPolicy") {
        for port in list(policy, "spec.ingress").iter().flat_map(|rule| list(rule, "ports")) {
            if !port["port"].as_u64().is_some_and(|port| ports.contains(&port)) {
                problems.push(format!("{}: nothing listens on {}", text(policy, "metadata.name"), port["port"]));
            }
        }
        let chosen = &policy["spec"]["podSelector"]["matchLabels"]["app"];
        let chosen = chosen.as_str().into_iter().chain(
            list(policy, "spec.podSelector.matchExpressions")
                .iter()
                .flat_map(|e| list(e, "values"))
                .filter_map(Value::as_str),
        );
        for app in chosen {
            let of = |template: &Value| template["metadata"]["labels"]["app"] == app;
            if !OBJECTS.iter().filter_map(pod).any(of) {
                problems.push(format!("{}: there is no pod {app}", text(policy, "metadata.name")));
            }
        }
    }
    assert_none(&problems);
}

#[test]
fn the_ingress_leads_to_services() {
    for rule in OBJECTS.iter().filter(|o| o["kind"] == "Ingress").flat_map(|ingress| list(ingress, "spec.rules")) {
        for path in list(rule, "http.paths") {
            assert!(object("Service", text(path, "backend.service.name")).is_some(), "{path}");
        }
    }
}
