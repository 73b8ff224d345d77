//! Alerts by promtool; the metrics that they name are metrics that the services give.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    process::Command,
};

use serde_json::Value;

use crate::{
    manifests::object,
    support::{assert_none, documents, list, read, root, run, text},
};

const EVENTS: &str = "k8s/base/monitoring/dashboard.json";
const OPERATIONS: &str = "k8s/base/monitoring/operations.json";
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

/// The metrics of docs/metrics.md, which another test compares with what services show: name and type.
fn metrics() -> BTreeMap<String, String> {
    let table = read("docs/metrics.md");
    let rows = table.lines().filter_map(|line| line.strip_prefix("| `")).filter_map(|row| row.split_once("` | "));
    rows.map(|(name, rest)| (name.to_owned(), rest.split(' ').next().unwrap().to_owned())).collect()
}

/// Whether Prometheus has series of this name; a histogram has three.
fn is_series(metrics: &BTreeMap<String, String>, name: &str) -> bool {
    let histogram = ["_bucket", "_sum", "_count"].into_iter().filter_map(|suffix| name.strip_suffix(suffix));
    match metrics.get(name) {
        Some(kind) => kind != "histogram",
        None => histogram.into_iter().any(|family| metrics.get(family).is_some_and(|kind| kind == "histogram")),
    }
}

/// Words of a text that look like names of our metrics.
fn named(text: &str) -> BTreeSet<&str> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words.filter(|word| word.starts_with("mesh_six_") || word.starts_with("gen_ai_client_")).collect()
}

/// What the dashboard of the metrics asks Prometheus.
fn queries() -> Vec<String> {
    let dashboard: Value = serde_json::from_str(&read(OPERATIONS)).unwrap();
    let targets = list(&dashboard, "panels").iter().flat_map(|panel| list(panel, "targets"));
    let queries: Vec<String> = targets.map(|target| text(target, "expr").replace("$__rate_interval", "5m")).collect();
    assert!(queries.len() >= 12, "{queries:?}");
    queries
}

#[test]
fn prometheus_understands_every_query_of_the_dashboard() {
    let folder = tempfile::tempdir().unwrap();
    let rule = |query: &String| serde_json::json!({"record": "asked", "expr": query});
    let rules: Vec<Value> = queries().iter().map(rule).collect();
    let rules = serde_json::json!({"groups": [{"name": "dashboard", "rules": rules}]});
    fs::write(folder.path().join("rules.yaml"), rules.to_string()).unwrap();
    let mut promtool = Command::new("promtool");
    run(promtool.args(["check", "rules", "--lint=none", "rules.yaml"]).current_dir(folder.path()), "");
}

#[test]
fn every_metric_of_an_alert_or_a_dashboard_exists() {
    let metrics = metrics();
    assert!(metrics.len() > 40, "the table is not read: {metrics:?}");
    let (alerts, tested) = (read(ALERTS), read("tests/delivery/alerts_test.yaml"));
    assert!(named(&alerts).len() >= 6, "{:?}", named(&alerts));
    let queries = queries().join("\n");
    let names: BTreeSet<&str> = [&alerts, &tested, &queries].into_iter().flat_map(|text| named(text)).collect();
    let missing = names.iter().filter(|name| !is_series(&metrics, name));
    assert_none(&missing.map(|metric| format!("nothing counts {metric}")).collect::<Vec<_>>());
}

#[test]
fn every_event_of_the_dashboard_exists() {
    let dashboard: Value = serde_json::from_str(&read(EVENTS)).unwrap();
    let mut types = BTreeSet::new();
    for target in list(&dashboard, "panels").iter().flat_map(|panel| list(panel, "targets")) {
        let sql = target["rawSql"].as_str().unwrap_or_default().to_owned();
        // Texts of a query that are written like types of events.
        let texts = sql.split('\'').skip(1).step_by(2).filter(|text| text.contains('.') && !text.contains(' '));
        types.extend(texts.map(str::to_owned));
    }
    assert!(types.len() >= 4, "{types:?}");
    let unknown = types.iter().filter(|name| mesh_six_core::event::catalogue::known_version(name).is_none());
    assert_none(&unknown.map(|name| format!("there is no event {name}")).collect::<Vec<_>>());
}

#[test]
fn what_is_deployed_is_what_is_tested() {
    let held = |map: &str, key: &str| object("ConfigMap", map).unwrap()["data"][key].as_str().unwrap().to_owned();
    assert_eq!(held("mesh-six-alerts", "alerts.yaml"), read(ALERTS));
    assert_eq!(held("mesh-six-grafana-dashboard", "mesh-six-operations.json"), read(OPERATIONS));
    let dashboard = read(EVENTS);
    assert_eq!(held("mesh-six-grafana-dashboard", "mesh-six-events.json"), dashboard);
    let dashboard: Value = serde_json::from_str(&dashboard).unwrap();
    let source = documents(&held("mesh-six-grafana-datasource", "mesh-six.yaml")).remove(0);
    for panel in list(&dashboard, "panels") {
        assert_eq!(panel["datasource"]["uid"], source["datasources"][0]["uid"]);
        assert_eq!(panel["datasource"]["type"], source["datasources"][0]["type"]);
    }
}
