//! `mesh-six bench`: one figure in a short run, and nothing left behind.

use std::{
    process::Command,
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::mesh::{command, data_folder};

/// How long a bench may take to begin or to stop; machines are noisy.
const PATIENCE: Duration = Duration::from_mins(1);

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
fn a_bench_that_is_interrupted_stops_cleanly() {
    let folder = data_folder();
    let mut bench = command(&["bench", "--only", "P1"]).env("TMPDIR", folder.path()).spawn().unwrap();
    let begun = Instant::now();
    // It is at work once its server has written its process id.
    let server = || {
        let of_run = std::fs::read_dir(folder.path()).unwrap().find_map(Result::ok)?;
        std::fs::read_to_string(of_run.path().join("postgres/postmaster.pid")).ok()
    };
    let pid = loop {
        let pid = server().and_then(|text| text.lines().next()?.parse::<u32>().ok());
        if let Some(pid) = pid {
            break pid;
        }
        assert!(bench.try_wait().unwrap().is_none() && begun.elapsed() < PATIENCE, "the bench did not begin");
        std::thread::sleep(Duration::from_millis(20));
    };
    assert!(Command::new("kill").args(["-INT", &bench.id().to_string()]).status().unwrap().success());
    let begun = Instant::now();
    while bench.try_wait().unwrap().is_none() {
        assert!(begun.elapsed() < PATIENCE, "the bench did not stop");
        std::thread::sleep(Duration::from_millis(20));
    }
    let output = bench.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130));
    assert!(String::from_utf8_lossy(&output.stderr).contains("nothing is left behind"));
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    assert!(!std::path::Path::new(&format!("/proc/{pid}")).exists(), "its server has ended");
}

#[test]
fn an_unknown_figure_is_refused() {
    let output = command(&["bench", "--only", "P99"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("P99"));
}
