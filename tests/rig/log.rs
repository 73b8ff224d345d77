//! What the log holds of messages that came through an outage, and of a task from its first event to its last.

use std::time::Duration;

use mesh_six_core::{
    StoredEvent,
    event::replay::TaskState,
    names::{EVENT_LOGGER, ORCHESTRATOR, TASK_PROGRESS, TASK_RESULTS},
    task::TaskStatus,
};
use mesh_six_testing::{
    Reply, StubModel,
    launch::AmqpPublisher,
    rig::{InstanceSpec, POSTGRESQL, Rig, RigSpec},
    samples::{self, AGENT},
    temporary_folder, wait_until,
};
use serde_json::{Value, json};
use tokio_postgres::Client;

use crate::support::{SOON, all, finished, http, metric, post_task, sql, start};

/// Messages of each of the two topics.
const EACH: usize = 500;
/// How long the criterion wants the database to be away.
const AWAY: Duration = Duration::from_secs(10);

#[tokio::test]
#[ignore = "runs in a network namespace: cargo xtask test"]
async fn e_5_a_thousand_messages_twice_with_the_database_stopped_for_ten_seconds_are_a_thousand_rows() {
    // Not the rig's own folder, in which PostgreSQL would never be stopped in order.
    let folder = temporary_folder().unwrap();
    let spec = RigSpec::servers(env!("CARGO_BIN_EXE_mesh-six")).with(InstanceSpec::of(EVENT_LOGGER));
    let rig = start(RigSpec { folder: Some(folder.path().to_owned()), ..spec }).await;
    let (notes, results) = messages(&sql(&rig).await).await;
    let mut publisher = AmqpPublisher::new(rig.broker_url());
    let mut publish = async |part: std::ops::Range<usize>| {
        for (topic, bodies) in [(TASK_PROGRESS, &notes), (TASK_RESULTS, &results)] {
            let confirmed = publisher.publish(topic, &bodies[part.clone()], SOON).await;
            assert!(confirmed.iter().all(|confirmed| *confirmed), "the broker has them all");
        }
    };
    let url = rig.url(EVENT_LOGGER);
    let answered = async |status: &str| metric(&url, "mesh_six_messages_received_total", &[status]).await;

    publish(0..EACH / 2).await;
    let before = sql(&rig).await;
    wait_until(SOON, async || rows(&before).await.0 > 0).await;
    drop(before);
    rig.stop(POSTGRESQL).await.unwrap();
    let back = tokio::time::Instant::now() + AWAY;
    publish(EACH / 2..EACH).await;
    publish(0..EACH / 2).await;
    wait_until(SOON, async || answered(r#"status="retry""#).await > 0.0).await;
    tokio::time::sleep_until(back).await;
    let healthz = http().get(format!("{url}/healthz")).send().await.unwrap();
    assert_eq!(healthz.status(), 200, "it lives");
    rig.start_again(POSTGRESQL).await.unwrap();
    publish(EACH / 2..EACH).await;

    #[expect(clippy::cast_precision_loss, reason = "few")]
    let twice = 4.0 * EACH as f64;
    wait_until(SOON, async || answered(r#"status="success""#).await >= twice).await;
    let log = sql(&rig).await;
    let thousand = i64::try_from(2 * EACH).unwrap();
    assert_eq!(rows(&log).await, (thousand, thousand));
    let letters = log.query_one("SELECT count(*) FROM dead_letters", &[]).await.unwrap();
    assert_eq!(letters.get::<_, i64>(0), 0, "an outage kills no message");
    rig.shut_down().await;
}

/// How many events of messages there are, and under how many keys.
async fn rows(log: &Client) -> (i64, i64) {
    let sql = "SELECT count(*), count(DISTINCT idempotency_key) FROM mesh_six_events \
        WHERE event_type IN ('task.progress', 'task.result')";
    let row = log.query_one(sql, &[]).await.unwrap();
    (row.get(0), row.get(1))
}

/// Notes and results of as many tasks, in the envelopes of a sidecar. The inbox vouches for the results.
async fn messages(log: &Client) -> (Vec<Vec<u8>>, Vec<Vec<u8>>) {
    let (mut notes, mut results) = (Vec::new(), Vec::new());
    for _ in 0..EACH {
        let request = samples::request();
        let result = samples::result(&request);
        let inbox = "INSERT INTO agent_inbox (task_id, attempt, agent_id, request, deadline_at, result_hash) \
            VALUES ($1::text::uuid, 1, $2, '{}', now() + interval '1 hour', $3)";
        log.execute(inbox, &[&request.id.to_string(), &AGENT, &result.result_hash]).await.unwrap();
        let note = samples::note(&request, "working");
        notes.push(envelope(TASK_PROGRESS, json!(note)));
        results.push(envelope(TASK_RESULTS, json!(result)));
    }
    (notes, results)
}

fn envelope(topic: &str, data: Value) -> Vec<u8> {
    samples::envelope(AGENT, samples::message(topic, data)).to_string().into_bytes()
}

#[tokio::test]
#[ignore = "runs in a network namespace: cargo xtask test"]
async fn e_9_the_replay_of_a_task_tells_its_steps_in_order_and_folds_to_its_end() {
    let model = StubModel::start().await;
    let spec = RigSpec { model_url: Some(model.url().to_owned()), ..all() };
    let rig = start(spec.with(InstanceSpec::as_app(AGENT, "simple-agent-b"))).await;
    let attempt = ["task.dispatched", "llm.call", "llm.response", "task.result"];
    // Answered at once; by the other agent; and never, since there is nothing to answer.
    let stories = [
        (vec![Reply::text("because")], "why?", TaskStatus::Completed, [&attempt[..], &["task.completed"]].concat()),
        (
            vec![Reply::status(401), Reply::text("because")],
            "and why else?",
            TaskStatus::Completed,
            [&attempt[..], &["task.retry"], &attempt, &["task.completed"]].concat(),
        ),
        (vec![], "", TaskStatus::Failed, vec!["task.dispatched", "task.result", "task.failed"]),
    ];
    for (replies, query, end, steps) in stories {
        model.script(replies);
        let body = json!({ "capability": "general-query", "payload": { "query": query } });
        let (task, _) = post_task(&rig.url(ORCHESTRATOR), &body).await;
        let shown = finished(&rig.url(ORCHESTRATOR), &task).await;
        assert_eq!(shown["status"], json!(end), "{shown:#}");
        let events = replay(&rig, &task).await;
        assert!(events.is_sorted_by(|one, next| one.position < next.position), "{events:#?}");
        // Notes come by their one way when they come.
        let types: Vec<&str> = events
            .iter()
            .map(|event| event.event.event_type.as_str())
            .filter(|kind| *kind != "task.progress")
            .collect();
        assert_eq!(types, [&["task.submitted"], &steps[..]].concat(), "{task}");
        let state = TaskState::fold(&events);
        assert_eq!(state.status, Some(end), "{state:?}");
        let timeline = format!("{}/api/v1/tasks/{task}/timeline", rig.url(ORCHESTRATOR));
        let timeline: Value = http().get(timeline).send().await.unwrap().json().await.unwrap();
        assert_eq!(timeline["state"]["status"], json!(end), "{timeline:#}");
    }
    rig.shut_down().await;
}

/// All events of a task, as the public API streams them.
async fn replay(rig: &Rig, task: &str) -> Vec<StoredEvent> {
    let url = format!("{}/api/v1/events/replay/task:{task}", rig.url(EVENT_LOGGER));
    let lines = http().get(url).send().await.unwrap().text().await.unwrap();
    lines.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
}
