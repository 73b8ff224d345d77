//! `mesh-six verify` beside real Dapr: what passes against `mesh-six up` passes here, and what sidecars, traces and
//! Prometheus add.

use std::{collections::BTreeMap, process::Command};

use mesh_six_testing::{
    Prometheus, Reply, StubModel,
    rig::{Rig, RigSpec},
};
use serde_json::Value;

use crate::{
    support::{all, start},
    traces::Traces,
};

/// What passes against `mesh-six up`: see `tests/acceptance/verify.rs`.
const UP: [&str; 13] =
    ["E.1", "E.2", "E.3", "E.4", "E.6", "E.9", "M1.1", "M1.10", "M1.11", "M1.13", "M1.2", "M1.3", "M1.6"];
/// What passes only where there are sidecars and a store of traces.
const DAPR: [&str; 2] = ["M1.12", "M1.7"];
const SERVICES: [&str; 3] = ["orchestrator", "simple-agent", "event-logger"];

#[tokio::test(flavor = "multi_thread")]
#[ignore = "runs in a network namespace: cargo xtask test"]
async fn verify_passes_with_the_criteria_of_up_and_those_of_dapr() {
    let (model, traces) = (StubModel::start().await, Traces::start().await);
    model.always(Reply::text("Yes."));
    let spec =
        RigSpec { model_url: Some(model.url().to_owned()), otlp: Some(traces.receiver.url().to_owned()), ..all() };
    let rig = start(spec).await;
    let prometheus = prometheus(&rig).await;
    let mut verify = Command::new(env!("CARGO_BIN_EXE_mesh-six"));
    verify.args(["verify", "--url", &rig.url("orchestrator"), "--events-url", &rig.url("event-logger")]);
    for service in SERVICES {
        verify.arg("--sidecar").arg(format!("{service}={}", rig.sidecar_url(service)));
        let metrics = rig.sidecar_ports(service).metrics;
        verify.arg("--sidecar-metrics").arg(format!("{service}=http://127.0.0.1:{metrics}"));
    }
    verify.args(["--traces", &traces.url, "--prometheus", prometheus.url()]);
    verify.env_clear().env("DATABASE_URL", rig.database_url()).env("DAPR_API_TOKEN", rig.api_token());
    let mut table = Command::new(verify.get_program());
    table.args(verify.get_args()).env_clear();
    table.envs(verify.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let output = tokio::task::spawn_blocking(move || verify.arg("--json").output().unwrap()).await.unwrap();
    let report: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)));
    let criteria: BTreeMap<&str, &Value> =
        report["criteria"].as_array().unwrap().iter().map(|c| (c["id"].as_str().unwrap(), c)).collect();
    let passed: Vec<&str> = criteria.iter().filter(|(_, c)| c["verdict"] == "pass").map(|(id, _)| *id).collect();
    let mut expected: Vec<&str> = UP.iter().chain(&DAPR).copied().collect();
    expected.sort_unstable();
    assert_eq!(passed, expected, "{report:#}");
    assert_eq!(report["failed"], 0, "{report:#}");
    let sidecars = &criteria["M1.13"]["evidence"]["prometheus"]["sidecarsOf"];
    assert_eq!(sidecars.as_array().map(Vec::len), Some(SERVICES.len()), "{report:#}");
    for secret in [rig.api_token(), rig.app_token()] {
        assert!(!report.to_string().contains(secret), "no secret in the report");
    }
    // The table for people, for the record.
    let output = tokio::task::spawn_blocking(move || table.output().unwrap()).await.unwrap();
    println!("{}", String::from_utf8_lossy(&output.stdout));
    assert!(output.status.success());
    rig.shut_down().await;
}

/// A real Prometheus that scrapes the services and their sidecars.
async fn prometheus(rig: &Rig) -> Prometheus {
    let mut targets = Vec::new();
    for service in SERVICES {
        targets.push((service.to_owned(), rig.url(service).trim_start_matches("http://").to_owned()));
        targets.push((format!("{service}-daprd"), format!("127.0.0.1:{}", rig.sidecar_ports(service).metrics)));
    }
    let targets: Vec<(&str, &str)> = targets.iter().map(|(job, address)| (job.as_str(), address.as_str())).collect();
    Prometheus::scraping(&targets).await
}
