//! Messages that the broker loses or doubles: the inbox decides, not they.

use mesh_six_core::names::{ORCHESTRATOR, TASK_RESULTS, task_topic};
use mesh_six_testing::{
    Reply, StubModel,
    launch::{AmqpPublisher, Flow, Witness, lose_waiting, queue_length},
    rig::{Rig, RigSpec, Way},
    wait_until,
};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio_postgres::Client;

use crate::support::{SOON, all, asked, finished, metric, model, post_task, sql, start};

const AGENT: &str = "simple-agent";

fn task(query: &str) -> Value {
    json!({ "capability": "general-query", "payload": { "query": query } })
}

/// The task has been answered by its first and only attempt, for which the model ran once.
async fn answered_once(rig: &Rig, model: &StubModel, task: &str, query: &str) {
    let done = finished(&rig.url(ORCHESTRATOR), task).await;
    assert_eq!((&done["status"], &done["attempts"]), (&json!("completed"), &json!(1)), "{done:#}");
    assert_eq!(done["result"]["response"], "because", "{done:#}");
    assert_eq!(asked(model, query), 1);
}

#[tokio::test]
#[ignore = "runs in a network namespace: cargo xtask test"]
async fn what_the_broker_loses_comes_again_or_is_found_in_the_inbox_and_what_it_doubles_is_answered_from_there() {
    let (lost, cut) = (watch::channel(false), watch::channel(false));
    let gates = [("lost", lost.1), ("cut", cut.1)];
    let model = model(move |query, _| {
        let (answer, gate) = (Reply::text("because"), gates.iter().find(|(name, _)| *name == query));
        gate.map_or(answer.clone(), |(_, open)| answer.when(open.clone()))
    });
    let model = model.await;
    let rig = start(RigSpec { model_url: Some(model.url().to_owned()), ..all() }.with_links()).await;
    let log = sql(&rig).await;
    let (request, body) = lost_request(&rig, &model).await;
    doubled_request(&rig, &model, &request, body).await;
    lost_result(&rig, &model, &log, &lost.0).await;
    unsent_result(&rig, &model, &log, &cut.0).await;
    let history = log.query_one("SELECT count(*), count(DISTINCT task_id) FROM agent_task_history", &[]).await.unwrap();
    assert_eq!((history.get::<_, i64>(0), history.get::<_, i64>(1)), (3, 3));
    rig.shut_down().await;
}

/// The broker loses a request before the agent's sidecar takes it: it comes again, as the same message. The task's id, and
/// the message.
async fn lost_request(rig: &Rig, model: &StubModel) -> (String, Vec<u8>) {
    let (broker, topic, query) = (rig.broker_url(), task_topic(AGENT), "unheard");
    let requests = Witness::of(broker, &topic).await.unwrap();
    let queue = format!("{AGENT}-{topic}");
    rig.stop(&format!("{AGENT}.daprd")).await.unwrap();
    let (task, _) = post_task(&rig.url(ORCHESTRATOR), &task(query)).await;
    wait_until(SOON, async || queue_length(broker, &queue).await.unwrap() == 1).await;
    assert_eq!(lose_waiting(broker, &queue).await.unwrap(), 1);
    rig.start_again(&format!("{AGENT}.daprd")).await.unwrap();
    rig.wait_ready(AGENT).await.unwrap();
    answered_once(rig, model, &task, query).await;
    let mut bodies = Vec::new();
    requests.drain(|body| bodies.push(body)).await.unwrap();
    assert!(bodies.len() >= 2, "sent again: {}", bodies.len());
    let envelopes: Vec<Value> = bodies.iter().map(|body| serde_json::from_slice(body).unwrap()).collect();
    for envelope in &envelopes {
        assert_eq!((&envelope["id"], &envelope["data"]), (&envelopes[0]["id"], &envelopes[0]["data"]));
    }
    (task, bodies.swap_remove(0))
}

/// A request that was answered long ago comes again: the agent sends the answer that it has.
async fn doubled_request(rig: &Rig, model: &StubModel, task: &str, body: Vec<u8>) {
    let done = async || metric(&rig.url(AGENT), "mesh_six_agent_deliveries_total", &[r#"answer="done""#]).await;
    let again =
        async || metric(&rig.url(ORCHESTRATOR), "mesh_six_task_results_total", &[r#"verdict="duplicate""#]).await;
    let before = (done().await, again().await);
    let confirmed = AmqpPublisher::new(rig.broker_url()).publish(&task_topic(AGENT), &[body.clone(), body], SOON).await;
    assert_eq!(confirmed, [true; 2]);
    wait_until(SOON, async || done().await >= before.0 + 2.0 && again().await > before.1).await;
    answered_once(rig, model, task, "unheard").await;
}

/// The broker loses a result while the orchestrator and its sidecar are down.
async fn lost_result(rig: &Rig, model: &StubModel, log: &Client, gate: &watch::Sender<bool>) {
    let (broker, query) = (rig.broker_url(), "lost");
    let queue = format!("{ORCHESTRATOR}-{TASK_RESULTS}");
    let (task, _) = post_task(&rig.url(ORCHESTRATOR), &task(query)).await;
    wait_until(SOON, async || asked(model, query) == 1).await;
    let parts = [ORCHESTRATOR.to_owned(), format!("{ORCHESTRATOR}.daprd")];
    for part in &parts {
        rig.kill_nine(part).await.unwrap();
    }
    gate.send_replace(true);
    wait_until(SOON, async || state(log, &task).await == "published").await;
    wait_until(SOON, async || queue_length(broker, &queue).await.unwrap() > 0).await;
    assert!(lose_waiting(broker, &queue).await.unwrap() > 0);
    for part in &parts {
        rig.start_again(part).await.unwrap();
    }
    rig.wait_ready(ORCHESTRATOR).await.unwrap();
    answered_once(rig, model, &task, query).await;
}

/// The agent's sidecar cannot reach the broker when the answer is there: it counts all the same, while the way is cut.
async fn unsent_result(rig: &Rig, model: &StubModel, log: &Client, gate: &watch::Sender<bool>) {
    let query = "cut";
    let (task, _) = post_task(&rig.url(ORCHESTRATOR), &task(query)).await;
    wait_until(SOON, async || asked(model, query) == 1).await;
    rig.set_way(AGENT, Way::Broker, Flow::Closed).unwrap();
    gate.send_replace(true);
    answered_once(rig, model, &task, query).await;
    assert_eq!(state(log, &task).await, "done", "no message has brought it");
    rig.set_way(AGENT, Way::Broker, Flow::Through).unwrap();
}

/// What the inbox says of the first attempt.
async fn state(log: &Client, task: &str) -> String {
    let sql = "SELECT state FROM agent_inbox WHERE task_id = $1::text::uuid AND attempt = 1";
    log.query_one(sql, &[&task]).await.unwrap().get(0)
}
