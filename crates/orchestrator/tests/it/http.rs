//! What callers see.

use std::time::{Duration, Instant};

use axum::http::Method;
use mesh_six_orchestrator::OrchestratorConfig;
use serde_json::{Value, json};

use crate::{
    agent::{Act, fine},
    rig::{Rig, settings},
};

macro_rules! snapshot {
    ($value:expr) => {
        insta::assert_json_snapshot!($value, {
            ".**.taskId" => "[id]", ".**.traceId" => "[trace]", ".**.createdAt" => "[time]", ".**.updatedAt" => "[time]",
            ".**.endedAt" => "[time]", ".**.dispatchedAt" => "[time]", ".**.deadlineAt" => "[time]",
            ".**.completedAt" => "[time]", ".**.durationMs" => "[ms]", ".**.lastHeartbeat" => "[time]",
            ".**.next" => "[cursor]",
        })
    };
}

#[tokio::test]
async fn m1_3_the_better_agent_gets_the_task_and_the_answer_names_it() {
    let rig = Rig::new().await;
    let best = rig.agent("best", 0.9, |_| Act::Answer(fine())).await;
    let other = rig.agent("other", 0.7, |_| Act::Answer(fine())).await;
    let body = json!({"capability": "work", "payload": {"query": "why?"}, "userId": "u", "priority": 7});
    let (status, accepted) = rig.post(&body).await;
    assert_eq!(status, 200);
    snapshot!(accepted);
    let task = serde_json::from_value(accepted["taskId"].clone()).unwrap();
    let done = rig.task_in(task, "completed").await;
    snapshot!(done);
    let (_, original) = rig.get(&format!("/tasks/{task}")).await;
    snapshot!(original);
    assert_eq!((best.seen().len(), other.seen().len()), (1, 0));
    let seen = &best.seen()[0];
    assert_eq!((seen.priority, seen.attempt, seen.user_id.as_deref()), (7, 1, Some("u")));
    assert_eq!(seen.trace_id.to_string(), accepted["traceId"].as_str().unwrap());
    assert_eq!(
        rig.events(task).await,
        ["task.submitted", "task.dispatched", "task.result", "task.completed"],
        "the whole story, in order"
    );
}

#[tokio::test]
async fn m1_3_bad_input_is_refused_and_the_field_named() {
    let rig = Rig::new().await;
    let task = |more: Value| {
        let mut body = json!({"capability": "work", "payload": {}});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        body.to_string()
    };
    for (body, status, field) in [
        ("{".to_owned(), 400, "body"),
        (String::new(), 400, "body"),
        ("[]".to_owned(), 400, "body"),
        (json!({"payload": {}}).to_string(), 400, "capability"),
        (json!({"capability": "work"}).to_string(), 400, "payload"),
        (task(json!({"payload": "text"})), 400, "payload"),
        (task(json!({"payload": {"a": "\u{0}"}})), 400, "payload"),
        (task(json!({"capability": ""})), 400, "capability"),
        (task(json!({"priority": 11})), 400, "priority"),
        (task(json!({"priority": "high"})), 400, "priority"),
        (task(json!({"timeout": 0})), 400, "timeout"),
        (task(json!({"timeout": 901})), 400, "timeout"),
        (task(json!({"wait": 901})), 400, "wait"),
        (task(json!({"wait": -1})), 400, "wait"),
        (task(json!({"traceId": "00"})), 400, "traceId"),
        (task(json!({"requestedBy": "x".repeat(257)})), 400, "requestedBy"),
        (task(json!({"payload": {"a": "x".repeat(256 * 1024)}})), 413, "payload"),
        (task(json!({"payload": {"a": "x".repeat(2 * 1024 * 1024)}})), 413, "body"),
    ] {
        let shown = body.chars().take(80).collect::<String>();
        let (found, _, answer) = rig.call(Method::POST, "/api/v1/tasks", &[], body).await;
        assert_eq!((found.as_u16(), &answer["error"]["field"]), (status, &json!(field)), "{shown} gave {answer}");
    }
    let long = "k".repeat(256);
    for key in ["", long.as_str()] {
        let (status, _, answer) = rig.call(Method::POST, "/tasks", &[("Idempotency-Key", key)], task(json!({}))).await;
        assert_eq!((status.as_u16(), &answer["error"]["field"]), (400, &json!("Idempotency-Key")));
    }
    for (path, status, field) in [
        ("/api/v1/tasks/42", 400, "taskId"),
        ("/api/v1/tasks/01900000-0000-7000-8000-000000000000", 404, "taskId"),
        ("/api/v1/tasks/01900000-0000-7000-8000-000000000000?wait=x", 400, "wait"),
        ("/api/v1/tasks?limit=0", 400, "limit"),
        ("/api/v1/tasks?limt=3", 400, "limt"),
        ("/api/v1/agents/a/history?limt=3", 400, "limt"),
        ("/api/v1/tasks/01900000-0000-7000-8000-000000000000?wiat=1", 400, "wiat"),
        ("/api/v1/tasks?status=lost", 400, "status"),
        ("/api/v1/tasks?after=x", 400, "after"),
    ] {
        let (found, answer) = rig.get(path).await;
        assert_eq!((found.as_u16(), &answer["error"]["field"]), (status, &json!(field)), "{path} gave {answer}");
    }
}

#[tokio::test]
async fn m1_3_without_an_agent_nothing_is_accepted() {
    let rig = Rig::new().await;
    let body = json!({"capability": "work", "payload": {}}).to_string();
    let (status, headers, answer) = rig.call(Method::POST, "/tasks", &[], body).await;
    assert_eq!(status, 503);
    assert!(headers.contains_key("retry-after"));
    snapshot!(answer);
    let (_, page) = rig.get("/api/v1/tasks").await;
    assert_eq!(page["tasks"], json!([]));
}

#[tokio::test]
async fn waiting_gives_the_task_at_its_end_or_as_it_is() {
    let rig = Rig::new().await;
    rig.agent("a", 0.9, |request| if request.payload.contains_key("hang") { Act::Hang } else { Act::Answer(fine()) })
        .await;
    let (status, done) = rig.post(&json!({"capability": "work", "payload": {}, "wait": 30})).await;
    assert_eq!(
        (status.as_u16(), &done["status"], &done["result"]),
        (200, &json!("completed"), &json!({"response": "42"}))
    );
    let (status, open) = rig.post(&json!({"capability": "work", "payload": {"hang": 1}, "wait": 1})).await;
    assert_eq!((status.as_u16(), &open["status"]), (202, &json!("dispatched")));
    let id = open["taskId"].as_str().unwrap();
    let (path, original) = (format!("/api/v1/tasks/{id}?wait=30"), format!("/tasks/{id}"));
    let (waited, cancelled) = tokio::join!(rig.get(&path), rig.call(Method::DELETE, &original, &[], ""));
    assert_eq!((cancelled.0.as_u16(), &waited.1["status"]), (200, &json!("cancelled")));
}

#[tokio::test]
async fn who_finds_no_room_to_wait_is_not_answered_before_the_time() {
    let rig = Rig::with(OrchestratorConfig { max_waiting: 0, ..settings() }).await;
    rig.agent("a", 0.9, |request| if request.payload.contains_key("hang") { Act::Hang } else { Act::Answer(fine()) })
        .await;
    let begun = Instant::now();
    let (status, open) = rig.post(&json!({"capability": "work", "payload": {"hang": 1}, "wait": 1})).await;
    assert_eq!((status.as_u16(), &open["status"]), (202, &json!("dispatched")));
    assert!(begun.elapsed() >= Duration::from_secs(1), "answered after {:?}", begun.elapsed());
    let (status, done) = rig.post(&json!({"capability": "work", "payload": {}, "wait": 30})).await;
    assert_eq!((status.as_u16(), &done["status"]), (200, &json!("completed")));
}

#[tokio::test]
async fn tasks_are_listed_by_page_and_filter() {
    let rig = Rig::new().await;
    rig.agent("a", 0.9, |_| Act::Queue).await;
    let mut ids = Vec::new();
    for _ in 0..5 {
        ids.push(rig.submit(json!({})).await.to_string());
    }
    ids.reverse();
    let (mut found, mut path, mut pages) = (Vec::new(), "/api/v1/tasks?limit=2&capability=work".to_owned(), 0);
    loop {
        let (_, page) = rig.get(&path).await;
        pages += 1;
        found.extend(page["tasks"].as_array().unwrap().iter().map(|t| t["taskId"].as_str().unwrap().to_owned()));
        let Some(next) = page["next"].as_str() else { break };
        path = format!("/api/v1/tasks?limit=2&capability=work&after={next}");
    }
    assert_eq!((found, pages), (ids.clone(), 3));
    rig.call(Method::DELETE, &format!("/api/v1/tasks/{}", ids[0]), &[], "").await;
    let (_, page) = rig.get("/tasks?status=cancelled").await;
    snapshot!(page);
    let (_, page) = rig.get("/tasks?capability=other").await;
    assert_eq!(page, json!({"tasks": [], "next": null}));
}

#[tokio::test]
async fn agents_and_scores_are_shown() {
    let rig = Rig::new().await;
    rig.agent("a", 0.9, |_| Act::Queue).await;
    rig.submit(json!({})).await;
    snapshot!(rig.get("/api/v1/agents").await.1);
    snapshot!(rig.get("/agents/score/work").await.1);
    assert_eq!(rig.get("/agents/score/none").await.1, json!({"capability": "none", "scores": []}));
}

#[tokio::test]
async fn an_agents_history_is_shown_newest_first_and_bounded() {
    let rig = Rig::new().await;
    rig.agent("a", 0.9, |_| Act::Answer(fine())).await;
    for _ in 0..3 {
        let task = rig.submit(json!({})).await;
        rig.task_in(task, "completed").await;
    }
    let (status, shown) = rig.get("/api/v1/agents/a/history?limit=2").await;
    assert_eq!((status.as_u16(), shown["history"].as_array().unwrap().len()), (200, 2));
    let newest = shown["history"][0].as_object().unwrap();
    let fields: Vec<_> = newest.keys().map(String::as_str).collect();
    assert_eq!(fields, ["capability", "createdAt", "durationMs", "errorType", "id", "success"]);
    assert_eq!(
        (&newest["capability"], &newest["success"], &newest["errorType"]),
        (&json!("work"), &json!(true), &json!(null))
    );
    assert_eq!(rig.get("/agents/a/history").await.1["history"].as_array().unwrap().len(), 3);
    assert_eq!(rig.get("/agents/nobody/history").await.1, json!({"agentId": "nobody", "history": []}));
    for limit in ["0", "201", "x"] {
        let (status, answer) = rig.get(&format!("/api/v1/agents/a/history?limit={limit}")).await;
        assert_eq!((status.as_u16(), &answer["error"]["field"]), (400, &json!("limit")), "{answer}");
    }
}

#[tokio::test]
async fn the_api_is_described() {
    let rig = Rig::new().await;
    let (status, described) = rig.get("/api/v1/openapi.json").await;
    assert_eq!(status, 200);
    insta::assert_json_snapshot!(described, { ".info.version" => "[version]" });
}
