//! Many callers, two orchestrators.

use std::collections::HashSet;

use axum::http::Method;
use futures_util::future::join_all;
use mesh_six_core::ErrorType;
use mesh_six_testing::wait_for;
use serde_json::{Value, json};

use crate::{
    agent::{Act, fine},
    rig::{LONG, Rig, settings},
};

const BODY: &str = r#"{"capability": "work", "payload": {"n": 1e2}}"#;

/// Posts as a client does: again where it is told that the database is too busy to say yes or no.
async fn post(rig: &Rig, key: &str, body: &str) -> (u16, Value) {
    wait_for(LONG, async || {
        let (status, _, answer) =
            rig.call(Method::POST, "/api/v1/tasks", &[("Idempotency-Key", key)], body.to_owned()).await;
        (answer["error"]["type"] != "unavailable").then_some((status.as_u16(), answer))
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn fifty_posts_with_one_key_are_one_task() {
    let rig = Rig::new().await;
    let a = rig.agent("a", 0.9, |_| Act::Queue).await;
    let answers = join_all((0..50).map(|_| post(&rig, "k", BODY))).await;
    let ids: HashSet<String> = answers
        .iter()
        .map(|(status, answer)| {
            assert_eq!(*status, 200, "{answer}");
            answer["taskId"].as_str().unwrap().to_owned()
        })
        .collect();
    assert_eq!(ids.len(), 1);
    let (_, page) = rig.get("/tasks").await;
    assert_eq!(page["tasks"].as_array().unwrap().len(), 1);
    let (status, conflict) = post(&rig, "k", r#"{"capability": "work", "payload": {"n": 101}}"#).await;
    assert_eq!((status, &conflict["error"]["type"]), (409, &json!("conflict")));
    let (status, _) = post(&rig, "k", r#"{"capability": "work", "payload": {"n": 100}}"#).await;
    assert_eq!(status, 200, "1e2 and 100 are one number");
    rig.mesh.sidecar("a").delete_state("agent:a").await.unwrap();
    assert_eq!(post(&rig, "k", BODY).await.0, 200, "a known key needs no agent");
    assert_eq!(post(&rig, "new", BODY).await.0, 503);
    drop(a);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_orchestrators_do_nothing_twice() {
    let rig = Rig::new().await;
    let second = Rig::detached(rig.db.clone(), rig.mesh.clone(), settings());
    let act = |request: &mesh_six_core::task::TaskRequest| match (request.priority, request.attempt) {
        (0, 1) => Act::Hang,
        (1, 1) => Act::Answer(Err(ErrorType::ApiError)),
        (2, _) => Act::Answer(Err(ErrorType::LlmError)),
        (3, _) => Act::AnswerUnheard(fine()),
        _ => Act::Answer(fine()),
    };
    let agents = [rig.agent("a", 0.9, act).await, rig.agent("b", 0.8, act).await];
    let mut tasks = Vec::new();
    for n in 0..16 {
        let rig = if n % 2 == 0 { &rig } else { &second };
        tasks.push((n % 4, rig.submit(json!({"priority": n % 4, "timeout": 1})).await));
    }
    for (kind, task) in tasks {
        let (status, attempts) = match kind {
            0 | 1 => ("completed", 2),
            2 => ("failed", 3),
            _ => ("completed", 1),
        };
        let done = rig.task_in(task, status).await;
        assert_eq!(done["attempts"], attempts, "{done}");
        assert_eq!(rig.history(task).await.len(), usize::try_from(attempts).unwrap());
        let events = rig.events(task).await;
        let unique: HashSet<_> = events.iter().collect();
        let count = |t: &str| events.iter().filter(|e| *e == t).count();
        let attempts = usize::try_from(attempts).unwrap();
        assert_eq!((count("task.dispatched"), count("task.retry")), (attempts, attempts - 1), "{events:?}");
        assert_eq!(count("task.completed") + count("task.failed"), 1);
        assert!(!unique.contains(&"task.result.rejected".to_owned()), "{events:?}");
        for agent in &agents {
            let seen: Vec<_> = agent.seen().into_iter().filter(|r| r.id == task).map(|r| r.attempt).collect();
            assert_eq!(seen.iter().collect::<HashSet<_>>().len(), seen.len(), "an attempt was sent twice");
        }
    }
    rig.end().await;
    second.end().await;
}
