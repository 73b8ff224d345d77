//! The database is stopped under load: nothing lost, nothing doubled.

use std::{
    process::Command,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    time::Duration,
};

use mesh_six_testing::{Reply, StubModel, TestServer, wait_for};
use serde_json::{Value, json};

use crate::mesh::{self, Mesh};

/// How long the database stays away.
const OUTAGE: Duration = Duration::from_secs(10);
const IN_FLIGHT: usize = 5;
const TASKS_A_SECOND: u32 = 7;
/// Of a task that is answered at its first attempt: two notes and the facts of orchestrator and agent.
const EVENTS_A_TASK: i64 = 8;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn ten_seconds_without_a_database_lose_and_double_nothing() {
    let (mut server, model) = (TestServer::start().await, StubModel::start().await);
    // Slow enough that the answers of the first five come while the database is away.
    model.answer_with(|call| {
        let slow = call.last("user").is_some_and(|text| text.starts_with("slow"));
        let answer = Reply::text("answer");
        if slow { answer.after(Duration::from_secs(4)) } else { answer }
    });
    let mesh = Mesh::start(&["--llm-url", model.url(), "--model", "stub"], &[("DATABASE_URL", &server.url())]);
    let http = mesh::http();
    let tasks = format!("{}/api/v1/tasks", mesh.url);
    let post = |query: String| {
        let request = http.post(&tasks).json(&json!({"capability": "general-query", "payload": {"query": query}}));
        async move { request.send().await.unwrap() }
    };
    for i in 0..IN_FLIGHT {
        assert_eq!(post(format!("slow {i}")).await.status(), 200);
    }
    model.wait_for_calls(IN_FLIGHT, Duration::from_secs(30)).await;

    // More than fifty events a second.
    let (stop, accepted, refused) = (AtomicBool::new(false), AtomicUsize::new(0), AtomicUsize::new(0));
    let load = async {
        let mut pace = tokio::time::interval(Duration::from_secs(1) / TASKS_A_SECOND);
        let mut i = 0;
        while !stop.load(Ordering::Relaxed) {
            pace.tick().await;
            let answer = post(format!("load {i}")).await;
            i += 1;
            if answer.status() == 200 {
                accepted.fetch_add(1, Ordering::Relaxed);
            } else {
                assert_eq!(answer.status(), 503);
                assert!(answer.headers().contains_key("retry-after"));
                let body: Value = answer.json().await.unwrap();
                assert_eq!(body["error"]["type"], "unavailable", "{body}");
                refused.fetch_add(1, Ordering::Relaxed);
            }
        }
    };
    let readyz = format!("{}/readyz", mesh.url);
    let ready = async |status: u16| {
        let answers = async || (http.get(&readyz).send().await.unwrap().status() == status).then_some(());
        wait_for(Duration::from_secs(30), answers).await;
    };
    let outage = async {
        wait_for(Duration::from_secs(30), async || (accepted.load(Ordering::Relaxed) >= 5).then_some(())).await;
        server.stop().await;
        let back = tokio::time::Instant::now() + OUTAGE;
        ready(503).await;
        tokio::time::sleep_until(back).await;
        server.restart().await;
        ready(200).await;
        let before = accepted.load(Ordering::Relaxed);
        wait_for(Duration::from_mins(1), async || (accepted.load(Ordering::Relaxed) >= before + 5).then_some(())).await;
        stop.store(true, Ordering::Relaxed);
    };
    tokio::join!(load, outage);
    let expected = IN_FLIGHT + accepted.load(Ordering::Relaxed);
    assert!(refused.load(Ordering::Relaxed) > 0, "new tasks are refused while the database is away");

    let client = server.client().await;
    let count = async |sql: &str| client.query_one(sql, &[]).await.unwrap().get::<_, i64>(0);
    let open = "SELECT count(*) FROM orchestrator_tasks WHERE ended_at IS NULL";
    wait_for(Duration::from_mins(2), async || (count(open).await == 0).then_some(())).await;
    let expected = i64::try_from(expected).unwrap();
    assert_eq!(count("SELECT count(*) FROM orchestrator_tasks WHERE status = 'completed'").await, expected);
    // The attempts that were at the model when the database went finished, and did not run again.
    let slow = "SELECT count(*) FROM orchestrator_tasks WHERE payload->>'query' LIKE 'slow%' AND attempts = 1";
    assert_eq!(count(slow).await, i64::try_from(IN_FLIGHT).unwrap());
    assert_eq!(
        model.calls().iter().filter(|c| c.last("user").is_some_and(|t| t.starts_with("slow"))).count(),
        IN_FLIGHT
    );
    // Each fact once, by whichever path.
    for event_type in ["task.submitted", "task.completed", "task.result"] {
        let sql = format!("SELECT count(*) FROM mesh_six_events WHERE event_type = '{event_type}'");
        let settled = wait_for(Duration::from_mins(1), async || {
            let n = count(&sql).await;
            (n >= expected).then_some(n)
        });
        assert_eq!(settled.await, expected, "{event_type}");
    }
    let calls = i64::try_from(model.calls().len()).unwrap();
    let logged = "SELECT count(*) FROM mesh_six_events WHERE event_type = 'llm.response'";
    wait_for(Duration::from_mins(1), async || (count(logged).await == calls).then_some(())).await;
    let all = "SELECT count(*) FROM mesh_six_events WHERE task_id IS NOT NULL";
    wait_for(Duration::from_mins(1), async || (count(all).await >= EVENTS_A_TASK * expected).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_hangs_is_told_by_each_service_and_afterwards_all_goes_on() {
    let folder = mesh::data_folder();
    let mesh = Mesh::private(folder.path(), 0, &[]);
    let postmaster = std::fs::read_to_string(folder.path().join("data/postgres/postmaster.pid")).unwrap();
    let postmaster = postmaster.lines().next().unwrap().to_owned();
    // The server and all that it has started: a machine that stands still.
    let signal = |name: &str| {
        let script = format!("kill -{name} {postmaster} $(pgrep -P {postmaster})");
        assert!(Command::new("sh").args(["-c", &script]).status().unwrap().success());
    };
    let http = mesh::http();
    let ready = async || http.get(format!("{}/readyz", mesh.url)).send().await.unwrap().text().await.unwrap();
    signal("STOP");
    wait_for(Duration::from_secs(30), async || {
        let told = ready().await;
        let both = ["orchestrator.database", "event-logger.database"].iter().all(|part| told.contains(part));
        both.then_some(())
    })
    .await;
    let task = json!({"capability": "general-query", "payload": {"query": "why?"}});
    let refused = http.post(format!("{}/api/v1/tasks", mesh.url)).json(&task).send().await.unwrap();
    assert_eq!(refused.status(), 503);
    signal("CONT");
    wait_for(Duration::from_secs(30), async || mesh.run(&["submit", "why?"]).status.success().then_some(())).await;
}
