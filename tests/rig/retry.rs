//! Attempts that fail in each way, and what is remembered of them.

use mesh_six_core::names::{ORCHESTRATOR, TASK_RESULTS};
use mesh_six_testing::{
    Reply, StubModel,
    launch::{AmqpPublisher, Witness},
    rig::{InstanceSpec, Rig, RigSpec},
    wait_until,
};
use serde_json::{Value, json};
use tokio_postgres::Client;

use crate::support::{SOON, all, asked, finished, http, metric, model, post_task, sql, start};

const AGENTS: [&str; 2] = ["simple-agent", "simple-agent-b"];
const CAPABILITY: &str = "general-query";

#[tokio::test]
#[ignore = "runs in a network namespace: cargo xtask test"]
async fn m1_4_a_failed_or_silent_agents_task_goes_to_the_other_and_m1_6_each_attempt_is_one_row_of_history() {
    // Does what the query's first word says.
    let model = model(|query, before| match (query.split(' ').next(), before) {
        (Some("always"), _) | (Some("once"), 0) => Reply::status(401),
        (Some("silent"), 0) => Reply::Hang,
        _ => Reply::text("because"),
    });
    let model = model.await;
    let spec = RigSpec { model_url: Some(model.url().to_owned()), ..all() };
    let rig = start(spec.with(InstanceSpec::as_app(AGENTS[0], AGENTS[1]))).await;
    let results = Witness::of(rig.broker_url(), TASK_RESULTS).await.unwrap();
    let log = sql(&rig).await;
    let tasks = [
        refused_once(&rig, &log).await,
        refused_always(&rig, &log, &model).await,
        model_that_hangs(&rig, &log).await,
        frozen_agent(&rig, &log, &model).await,
        frozen_sidecar(&rig, &log, &model).await,
    ];
    for task in &tasks {
        one_row_per_attempt(&log, task).await;
    }

    // M1.6: every result that there was comes twice more, as a broker may do it.
    let mut bodies = Vec::new();
    results.drain(|body| bodies.push(body)).await.unwrap();
    assert!(bodies.len() >= 8, "one message for each answer: {}", bodies.len());
    let before = record(&log).await;
    let url = rig.url(ORCHESTRATOR);
    let looked_at = async || metric(&url, "mesh_six_task_results_total", &[]).await;
    #[expect(clippy::cast_precision_loss, reason = "few")]
    let expected = looked_at().await + 2.0 * bodies.len() as f64;
    let mut publisher = AmqpPublisher::new(rig.broker_url());
    for _ in 0..2 {
        let confirmed = publisher.publish(TASK_RESULTS, &bodies, SOON).await;
        assert!(confirmed.iter().all(|confirmed| *confirmed), "{confirmed:?}");
    }
    wait_until(SOON, async || looked_at().await >= expected).await;
    assert_eq!(record(&log).await, before, "a result that comes again adds nothing");
    rig.shut_down().await;
}

/// The other agent gets the very same request. The task's id.
async fn refused_once(rig: &Rig, log: &Client) -> String {
    let url = rig.url(ORCHESTRATOR);
    let payload = json!({ "query": "once and why", "depth": [1, "two", null] });
    let body =
        json!({ "capability": CAPABILITY, "payload": payload, "priority": 8, "timeout": 77, "userId": "somebody" });
    let (task, first) = post_task(&url, &body).await;
    let done = finished(&url, &task).await;
    let second = other(&first);
    assert_eq!((&done["status"], &done["attempts"]), (&json!("completed"), &json!(2)), "{done:#}");
    assert_eq!((&done["triedAgents"], &done["dispatchedTo"]), (&json!([first, second]), &json!(second)), "{done:#}");
    let rows = "SELECT agent_id, request #>> '{}' FROM agent_inbox WHERE task_id = $1::text::uuid ORDER BY attempt";
    let requests: Vec<(String, Value)> = log
        .query(rows, &[&task])
        .await
        .unwrap()
        .iter()
        .map(|row| (row.get(0), serde_json::from_str(row.get(1)).unwrap()))
        .collect();
    let [(to_first, one), (to_second, two)] = requests.as_slice() else { panic!("{requests:#?}") };
    assert_eq!((to_first.as_str(), to_second.as_str()), (first.as_str(), second));
    assert_eq!((&two["payload"], &two["priority"], &two["timeout"]), (&payload, &json!(8), &json!(77)));
    let mut two = two.clone();
    assert_eq!(two["attempt"].take(), 2);
    two["attempt"] = json!(1);
    assert_eq!(*one, two, "nothing but the attempt differs");
    let expected = [
        "task.submitted",
        "task.dispatched",
        "task.result",
        "task.retry",
        "task.dispatched",
        "task.result",
        "task.completed",
    ];
    assert_eq!(facts(log, &task).await, expected);
    task
}

/// Three attempts, and no fourth.
async fn refused_always(rig: &Rig, log: &Client, model: &StubModel) -> String {
    let url = rig.url(ORCHESTRATOR);
    let query = "always and why";
    let body = json!({ "capability": CAPABILITY, "payload": { "query": query }, "priority": 8 });
    let (task, _) = post_task(&url, &body).await;
    let done = finished(&url, &task).await;
    assert_eq!((&done["status"], &done["attempts"]), (&json!("failed"), &json!(3)), "{done:#}");
    assert_eq!(asked(model, query), 3);
    let facts = facts(log, &task).await;
    assert_eq!(facts.iter().filter(|fact| *fact == "task.retry").count(), 2, "{facts:?}");
    assert_eq!(facts.last().map(String::as_str), Some("task.failed"), "{facts:?}");
    task
}

/// The agent itself tells that the time is over.
async fn model_that_hangs(rig: &Rig, log: &Client) -> String {
    let url = rig.url(ORCHESTRATOR);
    let (task, first) = post_task(&url, &silent("silent model", 1)).await;
    let done = finished(&url, &task).await;
    timed_out(log, &done, &first, "failed").await;
    task
}

/// The agent's process does nothing any more, in the middle of its work; later it goes on as if nothing had happened.
async fn frozen_agent(rig: &Rig, log: &Client, model: &StubModel) -> String {
    let url = rig.url(ORCHESTRATOR);
    let query = "silent agent";
    let (task, first) = post_task(&url, &silent(query, 2)).await;
    wait_until(SOON, async || asked(model, query) == 1).await;
    rig.freeze(&first).await.unwrap();
    let done = finished(&url, &task).await;
    rig.resume(&first).await.unwrap();
    timed_out(log, &done, &first, "timeout").await;
    // What it says afterwards is kept with the attempt, and changes nothing.
    let told = "SELECT late FROM agent_inbox WHERE task_id = $1::text::uuid AND attempt = 1 AND state = 'published'";
    wait_until(SOON, async || log.query_opt(told, &[&task]).await.unwrap().is_some_and(|row| row.get(0))).await;
    assert_eq!(asked(model, query), 2, "one run for each attempt");
    let now = finished(&url, &task).await;
    assert_eq!(
        (&now["status"], &now["attempts"], &now["result"]),
        (&done["status"], &done["attempts"], &done["result"])
    );
    task
}

/// The agent never hears of its task, and when it does, it is too late.
async fn frozen_sidecar(rig: &Rig, log: &Client, model: &StubModel) -> String {
    let url = rig.url(ORCHESTRATOR);
    let table = http().get(format!("{url}/api/v1/agents/score/{CAPABILITY}")).send().await.unwrap();
    let table: Value = table.json().await.unwrap();
    let best = table["scores"][0]["agentId"].as_str().unwrap_or_else(|| panic!("{table}")).to_owned();
    let sidecar = format!("{best}.daprd");
    rig.freeze(&sidecar).await.unwrap();
    let query = "unheard";
    let (task, first) = post_task(&url, &silent(query, 1)).await;
    assert_eq!(first, best, "{table}");
    let done = finished(&url, &task).await;
    timed_out(log, &done, &first, "timeout").await;
    let ignored = async || metric(&rig.url(&best), "mesh_six_agent_deliveries_total", &[r#"answer="ignored""#]).await;
    let before = ignored().await;
    rig.resume(&sidecar).await.unwrap();
    wait_until(SOON, async || ignored().await > before).await;
    assert_eq!(asked(model, query), 1, "nobody works on an attempt that has ended");
    task
}

/// A task with so many seconds for each attempt; urgent, so that the best agent gets it.
fn silent(query: &str, timeout: u32) -> Value {
    json!({ "capability": CAPABILITY, "payload": { "query": query }, "timeout": timeout, "priority": 8 })
}

/// The first attempt ended with its time, not before, and the other agent answered. Its outcome is a failure where the
/// agent itself has said so.
async fn timed_out(log: &Client, done: &Value, first: &str, outcome: &str) {
    let task = done["taskId"].as_str().unwrap();
    assert_eq!((&done["status"], &done["attempts"]), (&json!("completed"), &json!(2)), "{done:#}");
    assert_eq!(done["triedAgents"], json!([first, other(first)]), "{done:#}");
    let attempt = "SELECT outcome, ended_at >= deadline_at, extract(epoch FROM deadline_at - dispatched_at)::bigint, \
            h.error_type FROM task_attempts a JOIN agent_task_history h USING (task_id, attempt) \
        WHERE task_id = $1::text::uuid AND attempt = 1";
    let row = log.query_one(attempt, &[&task]).await.unwrap();
    assert_eq!((row.get::<_, &str>(0), row.get::<_, &str>(3)), (outcome, "timeout"), "{task}");
    assert!(row.get::<_, bool>(1), "not before its deadline: {task}");
    assert_eq!(row.get::<_, Option<i64>>(2), done["timeout"].as_i64(), "{task}");
    let facts = facts(log, task).await;
    assert_eq!(facts.iter().filter(|fact| *fact == "task.retry").count(), 1, "{facts:?}");
}

/// M1.6: a row for each attempt, with what the attempt was.
async fn one_row_per_attempt(log: &Client, task: &str) {
    let sql = "SELECT a.attempt, a.agent_id, a.outcome, t.capability, h.agent_id, h.capability, h.success, h.duration_ms, \
            h.error_type, (SELECT count(*) FROM agent_task_history o WHERE o.task_id = t.task_id) \
        FROM orchestrator_tasks t JOIN task_attempts a USING (task_id) \
        LEFT JOIN agent_task_history h ON (h.task_id, h.attempt) = (a.task_id, a.attempt) \
        WHERE t.task_id = $1::text::uuid ORDER BY a.attempt";
    let rows = log.query(sql, &[&task]).await.unwrap();
    for row in &rows {
        let (attempt, agent, outcome, capability): (i32, &str, &str, &str) =
            (row.get(0), row.get(1), row.get(2), row.get(3));
        let shown = format!("attempt {attempt} of {task} by {agent}: {outcome}");
        assert_eq!((row.get(4), row.get(5)), (Some(agent), Some(capability)), "{shown}");
        assert_eq!(row.get::<_, Option<bool>>(6), Some(outcome == "success"), "{shown}");
        let error: Option<&str> = row.get(8);
        assert_eq!(error.is_none(), outcome == "success", "{shown}");
        // An agent tells how long it worked, which began after the attempt did.
        let least = if outcome == "timeout" { 1_000 } else { 0 };
        assert!(row.get::<_, Option<i64>>(7).is_some_and(|duration| duration >= least), "{shown}");
        assert_eq!(row.get::<_, i64>(9), i64::try_from(rows.len()).unwrap(), "{shown}");
    }
}

/// The orchestrator's and the agents' facts of a task, in order.
async fn facts(log: &Client, task: &str) -> Vec<String> {
    let sql = "SELECT event_type FROM mesh_six_events WHERE task_id = $1::text::uuid AND event_type LIKE 'task.%' \
        AND event_type <> 'task.progress' ORDER BY txid, seq";
    log.query(sql, &[&task]).await.unwrap().iter().map(|row| row.get(0)).collect()
}

/// All rows of the history, and how many facts there are.
async fn record(log: &Client) -> (Vec<String>, i64) {
    let rows = log.query("SELECT h::text FROM agent_task_history h ORDER BY task_id, attempt", &[]).await.unwrap();
    let facts = "SELECT count(*) FROM mesh_six_events WHERE event_type <> 'task.progress'";
    (rows.iter().map(|row| row.get(0)).collect(), log.query_one(facts, &[]).await.unwrap().get(0))
}

fn other(agent: &str) -> &'static str {
    if agent == AGENTS[0] { AGENTS[1] } else { AGENTS[0] }
}
