//! `mesh-six verify`: what it says of a mesh that is well, of one that is not, and of what it cannot see.

use std::collections::BTreeMap;

use mesh_six_core::roster::{Kind, SERVICES};
use mesh_six_testing::{Reply, StubModel, TestDatabase};
use serde_json::Value;

use crate::mesh::{Mesh, command, data_folder};

/// Verdict and evidence by criterion.
fn by_id(report: &Value) -> BTreeMap<&str, (&str, &Value)> {
    let all = report["criteria"].as_array().unwrap();
    all.iter().map(|c| (c["id"].as_str().unwrap(), (c["verdict"].as_str().unwrap(), &c["evidence"]))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_be_seen_passes_with_its_evidence_and_the_rest_says_why_not() {
    let (database, model) = (TestDatabase::new().await, StubModel::start().await);
    model.always(Reply::text("Yes."));
    let url = database.url();
    let mesh = Mesh::start(&["--llm-url", model.url(), "--model", "stub"], &[("DATABASE_URL", url)]);
    let mut verify = command(&["verify", "--json", "--require", "M1.1,M1.3,M1.11,E.9"]);
    let output = verify.env("MESH_SIX_URL", &mesh.url).env("DATABASE_URL", url).output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{report} {told}");
    let found = by_id(&report);
    let passed: Vec<&str> = found.iter().filter(|(_, (verdict, _))| *verdict == "pass").map(|(id, _)| *id).collect();
    let expected =
        ["E.1", "E.2", "E.3", "E.4", "E.6", "E.9", "M1.1", "M1.10", "M1.11", "M1.13", "M1.2", "M1.3", "M1.6"];
    assert_eq!(passed, expected, "{report}");
    assert!(found["M1.11"].1["taskId"].is_string() && found["E.4"].1["calls"] == 1, "{report}");
    assert_eq!((found["M1.15"].0, found["M4.1"].0), ("notApplicable", "notBuilt"));
    for criterion in report["criteria"].as_array().unwrap() {
        let (verdict, why) = (&criterion["verdict"], &criterion["reason"]);
        assert!(verdict == "pass" || why.as_str().is_some_and(|text| !text.is_empty()), "{criterion}");
    }
    // Nothing but its own tasks is left: the shared one, M1.3's and M1.13's.
    let client = database.client().await;
    let left = "SELECT count(*) FILTER (WHERE user_id = 'mesh-six-verify'), count(*) FROM orchestrator_tasks";
    let left = client.query_one(left, &[]).await.unwrap();
    assert_eq!((left.get::<_, i64>(0), left.get::<_, i64>(1)), (3, 3));
    let password = url.split("://").nth(1).and_then(|rest| rest.split('@').next()?.split(':').nth(1));
    assert!(password.is_none_or(|secret| !report.to_string().contains(secret)), "no secret in the report");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_hold_fails_and_what_was_not_seen_does_not_meet_a_requirement() {
    let database = TestDatabase::new().await;
    let agents = SERVICES.iter().filter(|service| service.built && service.kind == Kind::Agent);
    let without: Vec<&str> = agents.flat_map(|agent| ["--without", agent.name]).collect();
    let mesh = Mesh::start(&without, &[("DATABASE_URL", database.url())]);
    let folder = data_folder();
    let elsewhere = folder.path().join("none").display().to_string();
    let output = mesh.run(&["verify", "M1.1", "M1.3", "M1.11", "--json", "--data-dir", &elsewhere]);
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let verdicts: Vec<_> = by_id(&report).into_iter().map(|(id, (verdict, _))| (id, verdict)).collect();
    assert_eq!(output.status.code(), Some(1), "{report}");
    assert_eq!(verdicts, [("M1.1", "fail"), ("M1.11", "fail"), ("M1.3", "fail")], "{report}");
    // Without a database the tables cannot be looked at, which is no pass.
    let output = mesh.run(&["verify", "M1.6", "--require", "M1.6", "--json", "--data-dir", &elsewhere]);
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((output.status.code(), by_id(&report)["M1.6"].0), (Some(1), "notApplicable"), "{report}");
    assert_eq!(report["requiredButNotPassed"], serde_json::json!(["M1.6"]));
}

#[test]
fn usage_and_an_absent_mesh() {
    let run = |args: &[&str]| command(args).env("MESH_SIX_URL", "http://127.0.0.1:9").output().unwrap();
    let unknown = run(&["verify", "M9.9"]);
    assert_eq!(unknown.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&unknown.stderr).contains("M9.9: there is no such criterion"));
    assert_eq!(run(&["verify"]).status.code(), Some(3));
}
