//! Alerts by promtool; the metrics that they name are metrics that the services give.

use std::{collections::BTreeSet, fs, path::Path, process::Command};

use serde_json::Value;

use crate::{
    manifests::object,
    support::{assert_none, documents, list, read, root, run, text},
};

const ALERTS: &str = "k8s/base/monitoring/alerts.yaml";

#[test]
fn every_alert_fires_when_it_should() {
    let folder = tempfile::tempdir().unwrap();
    for file in [ALERTS, "tests/delivery/alerts_test.yaml"] {
        let name = Path::new(file).file_name().unwrap();
        fs::copy(root().join(file), folder.path().join(name)).unwrap();
    }
    let promtool = |args: &[&str]| run(Command::new("promtool").args(args).current_dir(folder.path()), "");
    promtool(&["check", "rules", "alerts.yaml"]);
    promtool(&["test", "rules", "alerts_test.yaml"]);
    let alerts = documents(&read(ALERTS)).remove(0);
    let tested = read("tests/delivery/alerts_test.yaml");
    for rule in list(&alerts, "groups.0.rules") {
        assert!(tested.contains(&format!("\"{}\"", text(rule, "alert"))), "{} has no test", rule["alert"]);
    }
}

/// Rust files below a folder.
fn sources(folder: &Path, all: &mut String) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, all);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            all.push_str(&fs::read_to_string(path).unwrap());
        }
    }
}

#[test]
fn every_metric_of_an_alert_exists() {
    let mut code = String::new();
    sources(&root().join("crates"), &mut code);
    let alerts = read(ALERTS);
    let metrics: BTreeSet<&str> = alerts
        .split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
        .filter(|word| word.starts_with("mesh_six_"))
        .collect();
    assert!(metrics.len() >= 6, "{metrics:?}");
    let missing = metrics.iter().filter(|metric| !code.contains(&format!("\"{metric}\"")));
    assert_none(&missing.map(|metric| format!("nothing counts {metric}")).collect::<Vec<_>>());
}

#[test]
fn what_is_deployed_is_what_is_tested() {
    let held = |map: &str, key: &str| object("ConfigMap", map).unwrap()["data"][key].as_str().unwrap().to_owned();
    assert_eq!(held("mesh-six-alerts", "alerts.yaml"), read(ALERTS));
    let dashboard = read("k8s/base/monitoring/dashboard.json");
    assert_eq!(held("mesh-six-grafana-dashboard", "mesh-six-events.json"), dashboard);
    let dashboard: Value = serde_json::from_str(&dashboard).unwrap();
    let source = documents(&held("mesh-six-grafana-datasource", "mesh-six.yaml")).remove(0);
    for panel in list(&dashboard, "panels") {
        assert_eq!(panel["datasource"]["uid"], source["datasources"][0]["uid"]);
        assert_eq!(panel["datasource"]["type"], source["datasources"][0]["type"]);
    }
}
