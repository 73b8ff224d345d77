//! kill -9 of the whole mesh with tasks in flight.

use std::time::Duration;

use mesh_six_testing::{Reply, StubModel, wait_for};
use serde_json::Value;
use tokio::sync::watch;

use crate::mesh::{Mesh, data_folder, free_port};

const TASKS: usize = 20;

#[tokio::test(flavor = "multi_thread")]
async fn m1_15_kill_9_with_20_tasks_in_flight_ends_each_once_after_a_restart() {
    let model = StubModel::start().await;
    model.always(Reply::text("too late").after(Duration::from_mins(10)));
    let (folder, port) = (data_folder(), free_port());
    let args = ["--llm-url", model.url(), "--model", "stub"];
    let mut mesh = Mesh::private(folder.path(), port, &args);
    let mut ids = Vec::new();
    for i in 0..TASKS {
        let output = mesh.run(&["submit", &format!("question {i}"), "--no-wait", "--timeout", "120"]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        ids.push(String::from_utf8(output.stdout).unwrap().trim().to_owned());
    }
    // Some work at a model, the others wait in the inbox.
    model.wait_for_calls(1, Duration::from_secs(30)).await;
    let before = deadlines(&mesh, &ids);
    mesh.signal("KILL");
    assert_eq!(mesh.wait(Duration::from_secs(10)), None);
    drop(mesh);

    let (open, gate) = watch::channel(false);
    model.always(Reply::text("answered").when(gate));
    let mesh = Mesh::private(folder.path(), port, &args);
    // Remaining time is kept: attempts that were open go on under their old deadline.
    let after = deadlines(&mesh, &ids);
    let mut kept = 0;
    for (id, (attempt, deadline)) in &after {
        if let Some((_, old)) = before.iter().find(|(i, (a, _))| i == id && a == attempt).map(|(_, d)| d) {
            assert_eq!(deadline, old, "task {id} got a new deadline for the same attempt");
            kept += 1;
        }
    }
    assert!(kept > 0, "no attempt went on over the restart: {before:?}, then {after:?}");
    open.send_replace(true);
    let tasks = wait_for(Duration::from_mins(2), async || {
        let tasks = mesh.json(&["tasks", "--limit", "100", "--json"]);
        let ended = tasks.iter().filter(|t| t["status"] == "completed" || t["status"] == "failed").count();
        (ended == TASKS).then_some(tasks)
    })
    .await;
    assert_eq!(tasks.len(), TASKS);
    for task in &tasks {
        assert_eq!(task["status"], "completed", "{task}");
        assert!(task["attempts"].as_i64().unwrap() <= 3);
        let id = task["taskId"].as_str().unwrap();
        let ends = mesh.json(&["events", "query", "--task", id, "--type", "task.completed", "--json"]);
        assert_eq!(ends.len(), 1, "task {id} ended more than once");
        let accepted = mesh.json(&["events", "query", "--task", id, "--type", "task.dispatched", "--json"]);
        assert_eq!(i64::try_from(accepted.len()).ok(), task["attempts"].as_i64());
        let question = format!("question {}", ids.iter().position(|known| known == id).unwrap());
        let asked = model.calls().iter().filter(|call| call.last("user") == Some(&question)).count();
        assert!((1..=accepted.len()).contains(&asked), "{question} went to the model {asked} times: {task}");
    }
}

/// Attempt and deadline of each task that is still open.
fn deadlines(mesh: &Mesh, ids: &[String]) -> Vec<(String, (i64, String))> {
    mesh.json(&["tasks", "--limit", "100", "--json"])
        .iter()
        .filter(|t| t["status"] == "dispatched" && ids.iter().any(|id| t["taskId"] == id.as_str()))
        .filter_map(|t| {
            let deadline = t.get("deadlineAt").and_then(Value::as_str)?;
            Some((t["taskId"].as_str()?.to_owned(), (t["attempts"].as_i64()?, deadline.to_owned())))
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_private_postgresql_that_dies_is_started_again() {
    let folder = data_folder();
    let mesh = Mesh::private(folder.path(), 0, &[]);
    mesh.json(&["submit", "before", "--json"]);
    let state = std::fs::read_to_string(folder.path().join("data/postgres/postmaster.pid")).unwrap();
    let pid = state.lines().next().unwrap().to_owned();
    assert!(std::process::Command::new("kill").args(["-9", &pid]).status().unwrap().success());
    let done = wait_for(Duration::from_mins(1), async || {
        let output = mesh.run(&["submit", "after", "--json"]);
        output.status.success().then_some(output)
    })
    .await;
    let task: Value = serde_json::from_slice(&done.stdout).unwrap();
    assert_eq!(task["status"], "completed");
}
