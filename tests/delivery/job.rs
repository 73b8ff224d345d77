//! The verify Job as it is deployed: its arguments, in a container of its image, with the account of a pod, against a
//! running mesh and a stub of the cluster around it. What it prints is what the VM test's script reads.

use std::{fs, os::unix::fs::PermissionsExt, path::Path, process::Command};

use mesh_six_testing::TestServer;
use serde_json::{Value, json};

use crate::{
    cluster::{api, sidecars::Sidecars, state},
    containers::{docker, image_root, import},
    evaluated::services,
    manifests::{object, pod},
    mesh::Mesh,
    support::{list, output, python, root},
};

/// The orchestrator's image, under a name of its own.
const IMAGE: &str = "job";

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container engine and a build for containers: part of cargo xtask test"]
async fn m1_9_the_verify_job_passes_as_it_is_deployed_and_the_vm_test_reads_it() {
    // TLS needs its provider even where none is spoken.
    drop(rustls::crypto::ring::default_provider().install_default());
    let server = TestServer::start().await;
    let (owner, services_url) = (server.url(), server.app_url().await);
    let mesh = tokio::task::spawn_blocking(move || Mesh::start(&[], &[("DATABASE_URL", &owner)])).await.unwrap();
    let port: u16 = mesh.url.rsplit(':').next().unwrap().trim_end_matches('/').parse().unwrap();
    let sidecars = Sidecars::start("").await;
    let state = state::State::new(&state::Ports { sidecars: sidecars.ports.clone(), app: port });
    let seen = |kind: &str| json!({ "items": state.objects[kind] }).to_string();
    let (deployments, pods) = (seen("Deployment"), seen("Pod"));
    let api = api::Api::start(state).await;

    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let account = folder.path().join("account");
    fs::create_dir(&account).unwrap();
    for (file, content) in [("token", api::TOKEN), ("ca.crt", &api.authority), ("namespace", "mesh-six")] {
        fs::write(account.join(file), content).unwrap();
    }
    let job = pod(object("Job", "verify").unwrap()).unwrap();
    let args: Vec<String> =
        list(job, "spec.containers.0.args").iter().filter_map(Value::as_str).map(str::to_owned).collect();
    let address = mesh.url.clone();
    let told = tokio::task::spawn_blocking({
        let (folder, api_port) = (folder.path().to_owned(), api.port);
        move || verify(&folder, &args, &address, &services_url, api_port)
    });
    let told = told.await.unwrap().unwrap_or_else(|words| panic!("{words}"));
    let report: Value = serde_json::from_str(&told).unwrap();
    assert_eq!((&report["failed"], &report["requiredButNotPassed"]), (&json!(0), &json!([])), "{report:#}");
    vm_test_reads(folder.path(), &[("verify", &told), ("deployments", &deployments), ("pods", &pods)]);
}

/// Runs the Job's container until it ends, and gives what it printed.
fn verify(folder: &Path, args: &[String], mesh: &str, database: &str, api: u16) -> Result<String, String> {
    let root = image_root(folder);
    import(IMAGE, &services()["orchestrator"], &root);
    let mut run = Command::new("docker");
    run.args(["run", "--rm", "--network=host", "--read-only", "--cap-drop=ALL", "--pids-limit=256"]);
    run.args(["--security-opt=no-new-privileges", "--memory=64m", "--memory-swap=64m"]);
    let account = folder.join("account");
    run.arg("--volume").arg(format!("{}:/var/run/secrets/kubernetes.io/serviceaccount:ro", account.display()));
    let variables = [
        format!("MESH_SIX_URL={mesh}"),
        format!("MESH_SIX_EVENTS_URL={mesh}"),
        format!("DATABASE_URL={database}"),
        "KUBERNETES_SERVICE_HOST=127.0.0.1".to_owned(),
        format!("KUBERNETES_SERVICE_PORT={api}"),
    ];
    run.args(variables.iter().flat_map(|variable| ["--env", variable.as_str()]));
    let image = format!("{}/{IMAGE}", crate::containers::IMAGE);
    let told = output(run.arg(&image).args(args), "");
    docker(&["image", "rm", "--force", &image]);
    told
}

/// Runs the script of the VM test on answers that are real as far as they are named, and well as to the rest.
fn vm_test_reads(folder: &Path, answers: &[(&str, &str)]) {
    let place = folder.join("answers");
    fs::create_dir(&place).unwrap();
    for (file, content) in
        answers.iter().chain(&[("conditions", "SuccessCriteriaMet Complete"), ("migrate", "applied 4")])
    {
        fs::write(place.join(file), content).unwrap();
    }
    let script = folder.join("vm.py");
    fs::write(&script, crate::vm::script()).unwrap();
    let again = || {
        let mut script_ = python();
        script_.arg(&script).env("PYTHONPATH", root().join("tests/delivery/fake")).env("ANSWERS", &place);
        output(script_.env("PYTHONDONTWRITEBYTECODE", "1"), "")
    };
    again().unwrap_or_else(|words| panic!("{words}"));
    // And it fails where something did not pass.
    let told = fs::read_to_string(place.join("verify")).unwrap();
    fs::write(place.join("verify"), told.replace("\"pass\"", "\"fail\"")).unwrap();
    assert!(again().unwrap_err().contains("AssertionError"));
}
