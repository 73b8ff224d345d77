//! Criterion M1.9: a container of each built service, made from its image's spec and the release program.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use mesh_six_core::roster::{SERVICES, Service};
use mesh_six_testing::{TestServer, free_port, wait_for};
use serde_json::Value;

use crate::{
    evaluated::services,
    manifests::OBJECTS,
    support::{assert_none, at, list, output, run, text, tool},
};

/// How long one may take to answer its probe, and to end.
const PATIENCE: Duration = Duration::from_mins(1);
pub(crate) const IMAGE: &str = "mesh-six-delivery";
/// Where Debian has the certificates that the image brings as well.
pub(crate) const CERTIFICATES: &str = "/etc/ssl/certs/ca-certificates.crt";

pub(crate) fn docker(args: &[&str]) -> String {
    run(Command::new("docker").args(args), "")
}

/// A container that is removed at the end of its test, whatever that is.
struct Container(String);

impl Drop for Container {
    fn drop(&mut self) {
        drop(output(Command::new("docker").args(["rm", "--force", "--volumes", &self.0]), ""));
    }
}

/// What the image holds, in a folder.
pub(crate) fn image_root(folder: &Path) -> PathBuf {
    let root = folder.join("root");
    fs::create_dir_all(root.join("bin")).unwrap();
    fs::create_dir_all(root.join("etc/ssl/certs")).unwrap();
    fs::copy(tool("static/mesh-six"), root.join("bin/mesh-six")).unwrap();
    fs::copy(CERTIFICATES, root.join("etc/ssl/certs/ca-bundle.crt")).unwrap();
    root
}

/// Makes the image of `service` by its spec, and gives its size in bytes.
pub(crate) fn import(service: &str, spec: &Value, root: &Path) -> u64 {
    let mut tar = Command::new("tar");
    let file = root.with_extension("tar");
    run(
        tar.args(["--owner=0", "--group=0", "--create", "--directory"]).arg(root).arg("--file").arg(&file).arg("."),
        "",
    );
    let mut import = Command::new("docker");
    import.arg("import");
    let mut change = |instruction: String| {
        import.args(["--change", &instruction]);
    };
    change(r#"ENTRYPOINT ["/bin/mesh-six"]"#.to_owned());
    change(format!("CMD {}", spec["cmd"]));
    change(format!("USER {}", text(spec, "user")));
    change(format!("EXPOSE {}", spec["port"]));
    for (name, value) in spec["environment"].as_object().unwrap() {
        change(format!("ENV {name}={}", value.as_str().unwrap()));
    }
    let name = format!("{IMAGE}/{service}");
    run(import.arg(&file).arg(&name), "");
    docker(&["image", "inspect", "--format", "{{.Size}}", &name]).trim().parse().unwrap()
}

/// What was measured of one.
struct Row {
    name: &'static str,
    size: u64,
    start: Duration,
    memory: String,
    stop: Duration,
}

/// GET without a client of our own; the status and the body.
async fn get(port: u16, path: &str) -> Option<(u16, Value)> {
    let answer = reqwest::get(format!("http://127.0.0.1:{port}{path}")).await.ok()?;
    Some((answer.status().as_u16(), answer.json().await.unwrap_or_default()))
}

async fn measure(
    service: &'static Service,
    spec: &Value,
    root: &Path,
    database: &str,
    problems: &mut Vec<String>,
) -> Row {
    let name = service.name;
    let size = import(name, spec, root);
    let port = free_port();
    let begin = Instant::now();
    // The pod's rights and limits; on the host's network, since the database is on loopback.
    let mut args = vec!["run", "--detach", "--network=host", "--read-only", "--cap-drop=ALL", "--pids-limit=256"];
    args.extend(["--security-opt=no-new-privileges", "--memory=64m", "--memory-swap=64m", "--cpus=1"]);
    let variables = [
        format!("APP_PORT={port}"),
        "APP_HOST=127.0.0.1".to_owned(),
        format!("DATABASE_URL={database}"),
        "LLM_OFFLINE=true".to_owned(),
        "DAPR_HOST=127.0.0.1".to_owned(),
        format!("DAPR_HTTP_PORT={}", free_port()),
    ];
    args.extend(variables.iter().flat_map(|variable| ["--env", variable.as_str()]));
    let image = format!("{IMAGE}/{name}");
    args.push(&image);
    let container = Container(docker(&args).trim().to_owned());
    let state =
        |field: &str| docker(&["inspect", "--format", &format!("{{{{.{field}}}}}"), &container.0]).trim().to_owned();
    let logs = || output(Command::new("docker").args(["logs", &container.0]), "").unwrap_or_default();
    let answered = wait_for(PATIENCE, async || {
        assert_eq!(state("State.Running"), "true", "{name} ended: {}", logs());
        get(port, "/healthz").await.filter(|(status, _)| *status == 200)
    });
    answered.await;
    let start = begin.elapsed();
    let status = fs::read_to_string(format!("/proc/{}/status", state("State.Pid"))).unwrap();
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    let rights = [
        (field("Uid:") == "65532 65532 65532 65532", "is not user 65532"),
        (field("CapEff:") == "0000000000000000", "has capabilities"),
        (field("NoNewPrivs:") == "1", "may gain privileges"),
    ];
    problems.extend(rights.iter().filter(|(holds, _)| !holds).map(|(_, what)| format!("{name}: {what}")));
    if service.has_sidecar() {
        let subscriptions = get(port, "/dapr/subscribe").await.map(|(_, body)| body).unwrap_or_default();
        problems.extend(subscribed(service, &subscriptions));
    }
    let memory = field("VmHWM:");
    let begin = Instant::now();
    docker(&["stop", "--time", "60", &container.0]);
    let stop = begin.elapsed();
    for (field, expected) in [("State.ExitCode", "0"), ("State.OOMKilled", "false")] {
        if state(field) != expected {
            problems.push(format!("{name}: {field} is {}: {}", state(field), logs()));
        }
    }
    Row { name, size, start, memory, stop }
}

/// Criterion M1.7: the topics of services.toml, each by a component that is there and that the service may use.
fn subscribed(service: &Service, subscriptions: &Value) -> Vec<String> {
    let mut problems = Vec::new();
    let topics: BTreeSet<&str> = subscriptions.as_array().into_iter().flatten().map(|s| text(s, "topic")).collect();
    if topics != service.subscribes.iter().copied().collect() {
        problems
            .push(format!("{}: subscribes to {topics:?}, services.toml says {:?}", service.name, service.subscribes));
    }
    for subscription in subscriptions.as_array().into_iter().flatten() {
        let component = text(subscription, "pubsubname");
        let deployed = OBJECTS.iter().find(|o| o["kind"] == "Component" && at(o, "metadata.name") == component);
        if !deployed.is_some_and(|o| list(o, "scopes").iter().any(|scope| scope == service.name)) {
            problems.push(format!("{}: {component} is no component that it may use", service.name));
        }
    }
    problems
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container engine and a release build: cargo xtask images, and part of cargo xtask test"]
async fn m1_9_a_container_of_each_built_service_runs_without_rights_and_drains() {
    // TLS needs its provider even where none is spoken.
    drop(rustls::crypto::ring::default_provider().install_default());
    let server = TestServer::start().await;
    let database = server.app_url().await;
    let folder = tempfile::tempdir().unwrap();
    let root = image_root(folder.path());
    let specs = services();
    let (mut problems, mut rows) = (Vec::new(), Vec::new());
    for service in SERVICES.iter().filter(|service| service.built) {
        rows.push(measure(service, &specs[service.name], &root, &database, &mut problems).await);
    }
    println!("{:18} {:>9} {:>9} {:>10} {:>9}", "SERVICE", "IMAGE", "START", "MEMORY", "STOP");
    for row in rows {
        println!(
            "{:18} {:>6} kB {:>6} ms {:>10} {:>6} ms",
            row.name,
            row.size / 1000,
            row.start.as_millis(),
            row.memory,
            row.stop.as_millis()
        );
        docker(&["image", "rm", "--force", &format!("{IMAGE}/{}", row.name)]);
    }
    assert_none(&problems);
}
