//! `mesh-six bench`: one figure in a short run, and nothing left behind.

use serde_json::Value;

use crate::mesh::{command, data_folder};

#[test]
fn a_bench_tells_its_figure_and_leaves_nothing_behind() {
    let folder = data_folder();
    let output =
        command(&["bench", "--quick", "--only", "P5", "--json"]).env("TMPDIR", folder.path()).output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{told}");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["settings"]["postgres"]["fsync"], "on");
    let [result] = report["results"].as_array().unwrap().as_slice() else { panic!("one result: {report}") };
    assert_eq!((&result["id"], &result["unit"]), (&"P5".into(), &"events/s".into()));
    assert!(["value", "reference", "ratio"].iter().all(|f| result[f].as_f64().unwrap() > 0.0), "{result}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "the private server's folder is gone");
}

#[test]
fn an_unknown_figure_is_refused() {
    let output = command(&["bench", "--only", "P99"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("P99"));
}
