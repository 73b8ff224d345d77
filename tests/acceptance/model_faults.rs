//! The model answers 429, 500, garbage or hangs: retried within the task's time, every request on the record.

use mesh_six_testing::{Reply, StubModel, TestDatabase};
use serde_json::Value;

use crate::mesh::Mesh;

async fn mesh(model: &StubModel) -> (TestDatabase, Mesh) {
    let database = TestDatabase::new().await;
    let mesh = Mesh::start(&["--llm-url", model.url(), "--model", "stub"], &[("DATABASE_URL", database.url())]);
    (database, mesh)
}

fn submit(mesh: &Mesh, args: &[&str]) -> (Option<i32>, Value) {
    let mut all = vec!["submit", "question", "--json"];
    all.extend(args);
    let output = mesh.run(&all);
    let text = String::from_utf8(output.stdout).unwrap();
    (output.status.code(), serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {text}")))
}

fn count(mesh: &Mesh, task: &Value, event_type: &str) -> usize {
    mesh.json(&["events", "query", "--task", task["taskId"].as_str().unwrap(), "--type", event_type, "--json"]).len()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fault_that_passes_is_retried_and_each_request_is_on_the_record() {
    let model = StubModel::start().await;
    let (_database, mesh) = mesh(&model).await;
    model.script([Reply::status(429), Reply::Garbage, Reply::text("at last")]);
    let (code, task) = submit(&mesh, &[]);
    assert_eq!((code, &task["result"]["response"]), (Some(0), &Value::from("at last")));
    assert_eq!(task["attempts"], 1, "retries of single requests happen inside the attempt");
    assert_eq!(model.calls().len(), 3);
    assert_eq!((count(&mesh, &task, "llm.call"), count(&mesh, &task, "llm.response")), (3, 3));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fault_that_stays_ends_in_a_failure_with_its_type() {
    let model = StubModel::start().await;
    let (_database, mesh) = mesh(&model).await;
    model.always(Reply::status(500));
    let (code, task) = submit(&mesh, &["--timeout", "30"]);
    assert_eq!((code, task["status"].as_str()), (Some(1), Some("failed")));
    assert_eq!(task["error"]["type"], "llm_error");
    assert_eq!(task["attempts"], 3);
    assert_eq!(count(&mesh, &task, "llm.response"), model.calls().len());
    assert_eq!(count(&mesh, &task, "task.retry"), 2);
    assert_eq!(count(&mesh, &task, "task.failed"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_that_hangs_times_out_within_the_tasks_time() {
    let model = StubModel::start().await;
    let (_database, mesh) = mesh(&model).await;
    model.script([Reply::Hang]);
    model.always(Reply::text("awake"));
    let (code, task) = submit(&mesh, &["--timeout", "1"]);
    // The first attempt used its second up; the next one got an answer.
    assert_eq!((code, task["attempts"].as_i64()), (Some(0), Some(2)), "{task}");
    assert_eq!(count(&mesh, &task, "llm.call"), 2);
    assert_eq!(count(&mesh, &task, "llm.response"), 2);
}
