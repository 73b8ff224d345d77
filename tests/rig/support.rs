//! What the tests of the rig share.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use mesh_six_testing::{
    Reply, StubModel,
    rig::{Rig, RigSpec},
    wait_for,
};
use serde_json::{Value, json};

/// How long something may take that takes a moment on a machine that has nothing else to do.
pub(crate) const SOON: Duration = Duration::from_mins(1);

/// The servers and one of each built service.
pub(crate) fn all() -> RigSpec {
    RigSpec::all(env!("CARGO_BIN_EXE_mesh-six"))
}

/// A running rig.
pub(crate) async fn start(spec: RigSpec) -> Rig {
    Rig::start(spec).await.unwrap_or_else(|error| panic!("the rig does not start: {error:#}"))
}

/// An HTTP client; TLS needs its provider even where none is spoken.
pub(crate) fn http() -> reqwest::Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().no_proxy().build().unwrap()
}

/// Sends a task to an orchestrator and gives the answer.
pub(crate) async fn submit(url: &str, capability: &str, query: &str) -> Value {
    let body = json!({ "capability": capability, "payload": { "query": query } });
    let answer = http().post(format!("{url}/api/v1/tasks")).json(&body).send().await.unwrap();
    assert!(answer.status().is_success(), "{}: {}", answer.status(), answer.text().await.unwrap());
    answer.json().await.unwrap()
}

/// Sends a task as it is, and gives its id and the agent that got it.
pub(crate) async fn post_task(url: &str, body: &Value) -> (String, String) {
    let answer = http().post(format!("{url}/api/v1/tasks")).json(body).send().await.unwrap();
    assert!(answer.status().is_success(), "{}: {}", answer.status(), answer.text().await.unwrap());
    let answer: Value = answer.json().await.unwrap();
    let member = |name: &str| answer[name].as_str().unwrap_or_else(|| panic!("no {name} in {answer}")).to_owned();
    (member("taskId"), member("dispatchedTo"))
}

/// The sum of a metric's samples whose line holds each of `labels`, such as `status="retry"`.
pub(crate) async fn metric(url: &str, name: &str, labels: &[&str]) -> f64 {
    let text = http().get(format!("{url}/metrics")).send().await.unwrap().text().await.unwrap();
    let samples = text.lines().filter(|line| {
        line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' ']))
            && labels.iter().all(|label| line.contains(label))
    });
    samples.filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok()).sum()
}

/// A model that answers by what it is asked, and how often it was asked this before.
pub(crate) async fn model(answer: impl Fn(&str, usize) -> Reply + Send + Sync + 'static) -> StubModel {
    let model = StubModel::start().await;
    let before = Mutex::new(HashMap::<String, usize>::new());
    model.answer_with(move |call| {
        let query = call.last("user").unwrap_or_default();
        let mut before = before.lock().unwrap_or_else(PoisonError::into_inner);
        let before = before.entry(query.to_owned()).or_default();
        *before += 1;
        answer(query, *before - 1)
    });
    model
}

/// How often the model was asked this.
pub(crate) fn asked(model: &StubModel, query: &str) -> usize {
    model.calls().iter().filter(|call| call.last("user") == Some(query)).count()
}

/// The task once it has ended.
pub(crate) async fn finished(url: &str, task_id: &str) -> Value {
    finished_within(url, task_id, SOON).await
}

/// The same where a machine has something else to do.
pub(crate) async fn finished_within(url: &str, task_id: &str, patience: Duration) -> Value {
    let http = http();
    wait_for(patience, async || {
        let task: Value = http.get(format!("{url}/api/v1/tasks/{task_id}")).send().await.ok()?.json().await.ok()?;
        matches!(task["status"].as_str(), Some("completed" | "failed")).then_some(task)
    })
    .await
}

/// A connection to the rig's database as its owner.
pub(crate) async fn sql(rig: &Rig) -> tokio_postgres::Client {
    let (client, connection) = tokio_postgres::connect(rig.owner_url(), tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}
