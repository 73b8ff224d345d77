//! Orchestrators that are killed while tasks are under way.

use mesh_six_core::names::ORCHESTRATOR;
use mesh_six_testing::{
    Reply,
    rig::{InstanceSpec, RigSpec},
    wait_for, wait_until,
};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio_postgres::Client;

use crate::support::{SOON, all, asked, finished, http, model, post_task, sql, start};

const OTHER: &str = "orchestrator-2";

#[tokio::test]
#[ignore = "runs in a network namespace: cargo xtask test"]
async fn m1_15_killed_orchestrators_go_on_with_the_remaining_time_and_a_killed_ones_tasks_are_the_others() {
    let (gate, open) = watch::channel(false);
    let model = model(move |query, before| match query.split(' ').next() {
        Some("long") => Reply::text("because").when(open.clone()),
        Some("short") if before == 0 => Reply::Hang,
        _ => Reply::text("because"),
    });
    let model = model.await;
    let spec = RigSpec { model_url: Some(model.url().to_owned()), ..all() };
    let rig = start(
        spec.with(InstanceSpec::replica(ORCHESTRATOR, OTHER))
            .with(InstanceSpec::as_app("simple-agent", "simple-agent-b")),
    )
    .await;
    let database = sql(&rig).await;
    let (url, other) = (rig.url(ORCHESTRATOR), rig.url(OTHER));

    // Both die with two tasks under way, and with them the agent that has the short one, so that nobody tells its end. One
    // of the two is there again before that.
    let (short, silent) = post_task(&url, &task("short one", 5)).await;
    let (long, agent) = post_task(&url, &task("long one", 600)).await;
    assert_ne!(agent, silent, "the one that has nothing to do is better");
    wait_until(SOON, async || asked(&model, "long one") == 1 && asked(&model, "short one") == 1).await;
    let before = (attempt(&database, &long).await, attempt(&database, &short).await);
    for part in [ORCHESTRATOR, OTHER, &silent] {
        rig.kill_nine(part).await.unwrap();
    }
    rig.start_again(ORCHESTRATOR).await.unwrap();
    rig.wait_ready(ORCHESTRATOR).await.unwrap();
    assert_eq!((&*before.0.outcome, &*before.1.outcome), ("open", "open"));
    assert_eq!(attempt(&database, &long).await, before.0, "it is the same attempt, with the same deadline");
    assert_eq!(attempt(&database, &short).await.deadline, before.1.deadline);

    // What had little time left ends with that time, and comes again.
    let goes_on = wait_for(SOON, async || Some(show(&url, &short).await).filter(|task| task["attempts"] == 2)).await;
    let ended = attempt(&database, &short).await;
    assert_eq!((&*ended.outcome, ended.deadline), ("timeout", before.1.deadline), "{goes_on:#}");

    // The other orchestrator takes tasks and dies with them; nobody starts it again.
    for part in [OTHER, &silent] {
        rig.start_again(part).await.unwrap();
        rig.wait_ready(part).await.unwrap();
    }
    let (others_long, _) = post_task(&other, &task("long two", 600)).await;
    let (others_short, _) = post_task(&other, &task("short two", 5)).await;
    // Both are being worked on: a short one that nobody had begun would hang in its second attempt instead.
    wait_until(SOON, async || asked(&model, "long two") == 1 && asked(&model, "short two") == 1).await;
    rig.kill_nine(OTHER).await.unwrap();
    gate.send_replace(true);
    for (task, query) in [(&long, "long one"), (&others_long, "long two")] {
        let done = finished(&url, task).await;
        assert_eq!((&done["status"], &done["attempts"]), (&json!("completed"), &json!(1)), "{done:#}");
        assert_eq!(asked(&model, query), 1);
    }
    for task in [&short, &others_short] {
        let done = finished(&url, task).await;
        assert_eq!((&done["status"], &done["attempts"]), (&json!("completed"), &json!(2)), "{done:#}");
    }
    let ends = "SELECT count(*), count(DISTINCT task_id) FROM mesh_six_events WHERE event_type = 'task.completed'";
    let ends = database.query_one(ends, &[]).await.unwrap();
    assert_eq!((ends.get::<_, i64>(0), ends.get::<_, i64>(1)), (4, 4));
    rig.shut_down().await;
}

fn task(query: &str, timeout: u32) -> Value {
    json!({ "capability": "general-query", "payload": { "query": query }, "timeout": timeout })
}

async fn show(url: &str, task: &str) -> Value {
    http().get(format!("{url}/api/v1/tasks/{task}")).send().await.unwrap().json().await.unwrap()
}

/// A task's first attempt.
#[derive(Debug, PartialEq)]
struct Attempt {
    deadline: String,
    outcome: String,
}

async fn attempt(database: &Client, task: &str) -> Attempt {
    let sql = "SELECT deadline_at::text, coalesce(outcome, 'open') FROM task_attempts \
        WHERE task_id = $1::text::uuid AND attempt = 1";
    let row = database.query_one(sql, &[&task]).await.unwrap();
    Attempt { deadline: row.get(0), outcome: row.get(1) }
}
