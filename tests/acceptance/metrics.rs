//! Metrics: the table in docs/metrics.md, the code and `/metrics` say the same, and Prometheus reads it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::Write,
    process::{Command, Stdio},
    time::Duration,
};

use mesh_six_core::{
    metric::Metric,
    roster::{Kind, SERVICES},
};
use mesh_six_testing::{Mosquitto, Prometheus, Reply, StubModel, TestDatabase, wait_until};
use serde_json::json;

use crate::mesh::{Mesh, http};

const LONG: Duration = Duration::from_mins(1);

/// What only shows once something went wrong, once somebody decided about it, or once an agent uses tools.
const RARE: [&str; 7] = [
    "mesh_six_panics_total",
    "mesh_six_messages_refused_total",
    "mesh_six_messages_unrouted_total",
    "mesh_six_dead_letters_decided_total",
    "mesh_six_agent_progress_lost_total",
    "mesh_six_mqtt_dropped_total",
    "mesh_six_tool_call_duration_seconds",
];

/// All metrics of all crates, in the order of the table.
fn metrics() -> Vec<Metric> {
    let lists: [&[Metric]; 8] = [
        &mesh_six_runtime::metrics::COMMON,
        &mesh_six_orchestrator::metrics::METRICS,
        &mesh_six_runtime::metrics::AGENT,
        &mesh_six_llm::metrics::METRICS,
        &mesh_six_db::metrics::METRICS,
        &mesh_six_event_logger::METRICS,
        &mesh_six_sidecar::metrics::METRICS,
        &mesh_six_runtime::metrics::MQTT,
    ];
    lists.concat()
}

#[test]
fn the_table_of_metrics_is_what_the_code_counts() {
    let row = |metric: &Metric| {
        let labels: Vec<String> = metric.labels.iter().map(|label| format!("`{label}`")).collect();
        format!("| `{}` | {} | {} | {} |", metric.name, metric.kind, labels.join(" "), metric.help)
    };
    let wanted: Vec<String> = metrics().iter().map(row).collect();
    let text = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/metrics.md")).unwrap();
    let written: Vec<&str> = text.lines().filter(|line| line.starts_with("| `")).collect();
    assert_eq!(written, wanted, "docs/metrics.md should hold\n{}", wanted.join("\n"));
    let names: BTreeSet<&str> = metrics().iter().map(|metric| metric.name).collect();
    assert_eq!(names.len(), wanted.len(), "a metric is listed twice");
}

/// A family of `/metrics`.
#[derive(Debug, Default)]
struct Family {
    help: String,
    kind: String,
    labels: BTreeSet<String>,
}

/// What `page` shows, by name.
fn families(page: &str) -> BTreeMap<String, Family> {
    let mut all: BTreeMap<String, Family> = BTreeMap::new();
    for line in page.lines().filter(|line| !line.is_empty()) {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').unwrap();
            help.clone_into(&mut all.entry(name.to_owned()).or_default().help);
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            kind.clone_into(&mut all.entry(name.to_owned()).or_default().kind);
        } else {
            let (series, _) = line.rsplit_once(' ').unwrap();
            let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
            let of = ["_bucket", "_sum", "_count"].into_iter().filter_map(|suffix| name.strip_suffix(suffix));
            let of = of.into_iter().find(|family| all.get(*family).is_some_and(|f| f.kind == "histogram"));
            let family = all.entry(of.unwrap_or(name).to_owned()).or_default();
            // Values hold neither quotes nor commas here.
            let labels = labels.trim_end_matches('}').split(',').filter_map(|pair| pair.split_once('='));
            family.labels.extend(labels.map(|(label, _)| label.to_owned()).filter(|label| label != "le"));
        }
    }
    all
}

async fn page(mesh: &Mesh) -> String {
    http().get(format!("{}/metrics", mesh.url)).send().await.unwrap().text().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mesh_shows_the_metrics_of_the_table_with_their_help_and_no_others() {
    let (database, model) = (TestDatabase::new().await, StubModel::start().await);
    let broker = Mosquitto::start().await;
    let envs = [("DATABASE_URL", database.url()), ("MQTT_URL", &broker.url())];
    let mesh = Mesh::start(&["--llm-url", model.url(), "--model", "stub"], &envs);
    model.script([Reply::text("yes").costing(0.25), Reply::status(400)]);
    assert_eq!(mesh.json(&["submit", "one", "--json"])[0]["status"], "completed");
    // One that fails in the end, and capabilities that nobody has.
    mesh.run(&["submit", "two", "--json"]);
    for n in 0..100 {
        let body = json!({"capability": format!("invented-{n}"), "payload": {}});
        let answer = http().post(format!("{}/api/v1/tasks", mesh.url)).json(&body).send().await.unwrap();
        assert_eq!(answer.status(), 503);
    }
    let rare: BTreeSet<&str> = RARE.into_iter().collect();
    let listed = metrics();
    let expected: Vec<&str> = listed.iter().map(|metric| metric.name).filter(|name| !rare.contains(name)).collect();
    // Some are gauges that are set every few seconds.
    wait_until(LONG, async || {
        let shown = families(&page(&mesh).await);
        let missing: Vec<_> = expected.iter().filter(|name| !shown.contains_key(**name)).collect();
        if !missing.is_empty() {
            eprintln!("not there yet: {missing:?}");
        }
        missing.is_empty()
    })
    .await;
    let page = page(&mesh).await;
    assert!(!page.contains("invented-"), "callers cannot make series");
    for (name, shown) in families(&page) {
        let metric = listed.iter().find(|metric| metric.name == name);
        let metric = metric.unwrap_or_else(|| panic!("{name} is in no list"));
        assert_eq!((shown.kind, shown.help.as_str()), (metric.kind.to_string(), metric.help), "{name}");
        let unlisted: Vec<_> = shown.labels.iter().filter(|label| !metric.labels.contains(&label.as_str())).collect();
        assert!(unlisted.is_empty(), "{name} has labels that are not listed: {unlisted:?}");
    }
    lint(&page);
}

/// Names, units and types by Prometheus' own rules.
fn lint(page: &str) {
    let mut promtool = Command::new("promtool");
    promtool.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = promtool.spawn().unwrap_or_else(|error| panic!("promtool is missing: {error}"));
    child.stdin.take().unwrap().write_all(page.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && said.is_empty(), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn m1_13_prometheus_reads_three_finished_tasks() {
    let database = TestDatabase::new().await;
    let mesh = Mesh::start(&[], &[("DATABASE_URL", database.url())]);
    let prometheus = Prometheus::scraping(&[("mesh-six", mesh.url.strip_prefix("http://").unwrap())]).await;
    for question in ["one", "two", "three"] {
        assert_eq!(mesh.json(&["submit", question, "--json"])[0]["status"], "completed");
    }
    let completed = r#"mesh_six_tasks_total{capability="general-query",outcome="completed",job="mesh-six"}"#;
    prometheus.wait_for(completed, 3.0, LONG).await;
    let agents = SERVICES.iter().filter(|service| service.built && service.kind == Kind::Agent);
    let agents = f64::from(u32::try_from(agents.count()).unwrap());
    for (query, value) in [
        (r#"sum(mesh_six_attempts_total{outcome="success"})"#, 3.0),
        (r#"sum(gen_ai_client_operation_duration_seconds_count{gen_ai_agent_name="simple-agent"})"#, 3.0),
        (r#"mesh_six_agents{status="online"}"#, agents),
        ("count(mesh_six_build_info) > bool 0", 1.0),
        (r#"up{job="mesh-six"}"#, 1.0),
    ] {
        prometheus.wait_for(query, value, LONG).await;
    }
}
