//! `mesh-six verify --cluster`, against a stub of the Kubernetes API that holds what the prod overlay renders and
//! enforces the rights that it gives.

pub(crate) mod api;
pub(crate) mod sidecars;
pub(crate) mod state;

use std::{collections::BTreeMap, process::Command};

use axum::{Json, Router, routing::get};
use mesh_six_core::time;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{net::TcpListener, task::JoinHandle};

use self::{
    api::{Api, TOKEN},
    sidecars::Sidecars,
    state::{Ports, State},
};
use crate::support::{BINARY, output, text};

/// What goes wrong in a cluster.
type Change = Box<dyn FnOnce(&mut State) + Send>;
/// What can be seen of a cluster alone.
const CLUSTER: [&str; 6] = ["M1.7", "M1.8", "M1.9", "M1.14", "D.1", "D.2"];

/// A cluster, and a mesh that only says that it is there.
struct Cluster {
    api: Api,
    mesh: String,
    server: JoinHandle<()>,
    folder: TempDir,
    _sidecars: Sidecars,
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Cluster {
    async fn start(without: &str) -> Self {
        let sidecars = Sidecars::start(without).await;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let router = Router::new().route("/version", get(async || Json(json!({ "version": "0.1.0" }))));
        let server = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        let api = Api::start(State::new(&Ports { sidecars: sidecars.ports.clone(), app: port })).await;
        let (mesh, folder) = (format!("http://127.0.0.1:{port}"), tempfile::tempdir().unwrap());
        Self { api, mesh, server, folder, _sidecars: sidecars }
    }

    /// Runs `verify` and gives its report, or its last words.
    async fn verify(&self, args: &[&str]) -> Result<Value, String> {
        let mut verify = Command::new(BINARY);
        verify.arg("verify").args(args).arg("--kubeconfig").arg(self.api.kubeconfig(self.folder.path()));
        verify.args(["--json", "--data-dir"]).arg(self.folder.path().join("none"));
        verify.env_clear().env("MESH_SIX_URL", &self.mesh);
        let told = tokio::task::spawn_blocking(move || output(&mut verify, "")).await.unwrap();
        told.map(|json| serde_json::from_str(&json).unwrap())
    }

    /// Verdict and reason of one criterion.
    async fn of(&self, id: &str) -> (String, String) {
        let told = self.verify(&[id]).await;
        // Its words follow the report where something failed.
        let report = told.unwrap_or_else(|words| serde_json::from_str(&words).unwrap());
        let criterion = &report["criteria"][0];
        (text(criterion, "verdict").to_owned(), criterion["reason"].as_str().unwrap_or_default().to_owned())
    }
}

fn verdicts(report: &Value) -> BTreeMap<&str, &str> {
    report["criteria"].as_array().unwrap().iter().map(|c| (text(c, "id"), text(c, "verdict"))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_overlay_makes_of_a_cluster_passes_with_the_rights_that_it_gives() {
    let cluster = Cluster::start("").await;
    let junit = cluster.folder.path().join("verify.xml");
    let mut args = CLUSTER.to_vec();
    args.extend(["--require", "M1.7,M1.8,M1.9,M1.14,D.2", "--junit", junit.to_str().unwrap()]);
    let report = cluster.verify(&args).await.unwrap();
    let expected = CLUSTER.map(|id| (id, if id == "D.1" { "notApplicable" } else { "pass" }));
    assert_eq!(verdicts(&report), BTreeMap::from(expected), "{report:#}");
    assert!(!report.to_string().contains(TOKEN));
    let shown = report["criteria"].as_array().unwrap().iter().map(|c| json!([c["id"], c["reason"], c["evidence"]]));
    insta::assert_json_snapshot!(shown.collect::<Vec<_>>(), {
        "[].**.youngestServiceSeconds" => "[seconds]",
    });
    let junit = std::fs::read_to_string(junit).unwrap();
    assert!(junit.contains("tests=\"6\" failures=\"0\" errors=\"0\" skipped=\"1\""), "{junit}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_pods_and_deployments_is_told() {
    let cluster = Cluster::start("").await;
    let now = time::format(time::now());
    let terminated = |reason: &str, code: i32| {
        json!({ "terminated": { "reason": reason, "exitCode": code,
        "startedAt": now, "finishedAt": now, "containerID": "containerd://0" } })
    };
    let app = |change: fn(&mut Value, Value), with: Value| -> Change {
        Box::new(move |state| change(state.pod("simple-agent"), with))
    };
    let faults: Vec<(&str, Change, &str)> = vec![
        (
            "M1.8",
            Box::new(|state| {
                let deployments = state.objects.get_mut("Deployment").unwrap();
                let one = deployments.iter_mut().find(|d| d["metadata"]["name"] == "simple-agent").unwrap();
                one["spec"]["template"]["metadata"]["annotations"]["dapr.io/app-id"] = "another".into();
            }),
            "simple-agent: dapr.io/app-id is not simple-agent",
        ),
        (
            "M1.8",
            Box::new(|state| {
                state.objects.get_mut("Service").unwrap().retain(|s| s["metadata"]["name"] != "orchestrator");
            }),
            "orchestrator: there is no Service",
        ),
        (
            "M1.9",
            app(
                |pod, _| pod["spec"]["containers"][0]["securityContext"]["readOnlyRootFilesystem"] = false.into(),
                json!(0),
            ),
            "simple-agent-7d4b9c-0: its root can be written to",
        ),
        (
            "M1.9",
            app(|pod, _| pod["status"]["conditions"][0]["status"] = "False".into(), json!(0)),
            "simple-agent-7d4b9c-0: is not ready",
        ),
        (
            "M1.9",
            Box::new(|state| {
                state.objects.get_mut("Pod").unwrap().retain(|pod| pod["metadata"]["labels"]["app"] != "event-logger");
            }),
            "event-logger: no pod",
        ),
        (
            "D.2",
            app(
                |pod, with| pod["status"]["containerStatuses"][0]["state"] = with,
                json!({ "waiting": { "reason": "CrashLoopBackOff" } }),
            ),
            "simple-agent-7d4b9c-0/app: CrashLoopBackOff",
        ),
        (
            "D.2",
            app(|pod, with| pod["status"]["containerStatuses"][0]["lastState"] = with, terminated("OOMKilled", 137)),
            "simple-agent-7d4b9c-0/app: killed for want of memory",
        ),
        (
            "D.2",
            app(
                |pod, with| {
                    pod["status"]["initContainerStatuses"][0]["lastState"] = with;
                    pod["status"]["initContainerStatuses"][0]["restartCount"] = 1.into();
                },
                terminated("Error", 1),
            ),
            "simple-agent-7d4b9c-0/daprd: ended with 1 and was restarted",
        ),
        (
            "D.1",
            app(|pod, _| pod["spec"]["containers"][0]["image"] = "elsewhere/nginx:1".into(), json!(0)),
            "simple-agent-7d4b9c-0: runs elsewhere/nginx:1; several tags: 1, unpushed",
        ),
    ];
    for (id, change, reason) in faults {
        let mut before = BTreeMap::new();
        cluster.api.change(|state| {
            before = state.objects.clone();
            change(state);
        });
        assert_eq!(cluster.of(id).await, ("fail".to_owned(), reason.to_owned()));
        cluster.api.change(|state| state.objects = before);
    }
    // Too young to tell is no pass.
    cluster.api.change(|state| state.pod("simple-agent")["status"]["startTime"] = now.clone().into());
    assert_eq!(cluster.of("D.2").await.0, "notApplicable");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_seen_does_not_pass() {
    let cluster = Cluster::start("events-dead").await;
    let (verdict, reason) = cluster.of("M1.7").await;
    assert_eq!((verdict.as_str(), reason.as_str()), ("fail", "event-logger: events-dead is not loaded"));
    // Without the Role in Argo CD's namespace.
    cluster.api.change(|state| state.roles.retain(|role| role["metadata"]["namespace"] != "argocd"));
    let (verdict, reason) = cluster.of("M1.14").await;
    assert!(verdict == "notApplicable" && reason.contains("applications.argoproj.io is forbidden"), "{reason}");
    // Without any.
    cluster.api.change(|state| state.roles.clear());
    let (verdict, reason) = cluster.of("D.2").await;
    assert!(
        verdict == "fail" && reason.contains("could not be checked") && reason.contains("is forbidden"),
        "{reason}"
    );
    // Without asking for the cluster.
    let mut verify = Command::new(BINARY);
    verify.args(["verify", "--json", "--data-dir"]).arg(cluster.folder.path()).args(CLUSTER);
    verify.env_clear().env("MESH_SIX_URL", &cluster.mesh);
    let told = tokio::task::spawn_blocking(move || output(&mut verify, "")).await.unwrap().unwrap();
    let report: Value = serde_json::from_str(&told).unwrap();
    assert_eq!(verdicts(&report), BTreeMap::from(CLUSTER.map(|id| (id, "notApplicable"))));
    // A kubeconfig that is none.
    let wrong = cluster.verify(&["M1.8", "--kubeconfig", "/nowhere"]).await.unwrap_err();
    assert!(wrong.contains("--kubeconfig"), "{wrong}");
}
