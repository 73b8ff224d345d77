//! M1.4 and M1.6: attempts that fail, and what is remembered of them.

use mesh_six_core::ErrorType;
use mesh_six_testing::wait_until;
use serde_json::json;

use crate::{
    agent::{Act, fine},
    rig::{LONG, Rig},
};

#[tokio::test]
async fn m1_4_a_failed_task_goes_to_the_next_agent_unchanged() {
    let rig = Rig::new().await;
    let a = rig.agent("a", 0.9, |_| Act::Answer(Err(ErrorType::LlmError))).await;
    let b = rig.agent("b", 0.7, |_| Act::Answer(fine())).await;
    let task = rig.submit(json!({"priority": 8, "timeout": 77, "userId": "u"})).await;
    let done = rig.task_in(task, "completed").await;
    assert_eq!((&done["attempts"], &done["dispatchedTo"]), (&json!(2), &json!("b")));
    assert_eq!(done["triedAgents"], json!(["a", "b"]));
    assert_eq!(done["usage"]["inputTokens"], 6, "both attempts count");
    assert_eq!(done.get("error"), None);
    let (first, mut second) = (a.seen()[0].clone(), b.seen()[0].clone());
    assert_eq!((second.attempt, second.priority, second.timeout), (2, 8, 77));
    second.attempt = 1;
    assert_eq!(first, second, "nothing but the attempt differs");
    assert_eq!(
        rig.events(task).await,
        [
            "task.submitted",
            "task.dispatched",
            "task.result",
            "task.retry",
            "task.dispatched",
            "task.result",
            "task.completed"
        ]
    );
}

#[tokio::test]
async fn m1_4_an_agent_whose_handler_panicked_is_followed_by_another_with_the_same_payload() {
    let rig = Rig::new().await;
    // What the runtime answers for a handler that panicked.
    let a = rig.agent("a", 0.9, |_| Act::Answer(Err(ErrorType::Unhandled))).await;
    let b = rig.agent("b", 0.7, |_| Act::Answer(fine())).await;
    let task = rig.submit(json!({})).await;
    let done = rig.task_in(task, "completed").await;
    assert_eq!((&done["attempts"], &done["triedAgents"]), (&json!(2), &json!(["a", "b"])));
    assert_eq!(a.seen()[0].payload, b.seen()[0].payload);

    let alone = Rig::new().await;
    let a = alone.agent("a", 0.9, |_| Act::Answer(Err(ErrorType::Unhandled))).await;
    let task = alone.submit(json!({})).await;
    let failed = alone.task_in(task, "failed").await;
    assert_eq!((&failed["attempts"], &failed["error"]["type"]), (&json!(3), &json!("unhandled")));
    assert_eq!(a.seen().len(), 3);
}

#[tokio::test]
async fn m1_4_there_are_at_most_three_attempts_and_the_same_agent_comes_again_after_a_pause() {
    let rig = Rig::new().await;
    let a = rig.agent("a", 0.9, |_| Act::Answer(Err(ErrorType::LlmError))).await;
    let task = rig.submit(json!({})).await;
    let failed = rig.task_in(task, "failed").await;
    assert_eq!((&failed["attempts"], &failed["error"]["type"]), (&json!(3), &json!("llm_error")));
    assert_eq!(a.seen().iter().map(|r| r.attempt).collect::<Vec<_>>(), [1, 2, 3]);
    let events = rig.events(task).await;
    assert_eq!(events.iter().filter(|e| *e == "task.retry").count(), 2);
    assert_eq!(events.last().map(String::as_str), Some("task.failed"));
    let published = rig.sql().await;
    let sent = "SELECT count(*) FROM outbox WHERE topic = 'task-events' AND payload->>'eventType' = 'task.failed'";
    assert_eq!(published.query_one(sent, &[]).await.unwrap().get::<_, i64>(0), 1, "the end is published");
}

#[tokio::test]
async fn m1_4_validation_and_permission_are_not_tried_again() {
    for fault in [ErrorType::Validation, ErrorType::Permission] {
        let rig = Rig::new().await;
        let a = rig.agent("a", 0.9, move |_| Act::Answer(Err(fault))).await;
        let b = rig.agent("b", 0.7, |_| Act::Answer(fine())).await;
        let task = rig.submit(json!({})).await;
        let failed = rig.task_in(task, "failed").await;
        assert_eq!((&failed["attempts"], &failed["error"]["type"]), (&json!(1), &json!(fault)));
        assert_eq!((a.seen().len(), b.seen().len()), (1, 0));
    }
}

#[tokio::test]
async fn m1_4_a_silent_agent_is_a_timeout() {
    let rig = Rig::new().await;
    rig.agent("silent", 0.9, |_| Act::Hang).await;
    rig.agent("spoken", 0.5, |_| Act::Answer(fine())).await;
    let task = rig.submit(json!({"timeout": 1})).await;
    let done = rig.task_in(task, "completed").await;
    assert_eq!((&done["attempts"], &done["dispatchedTo"]), (&json!(2), &json!("spoken")));
    assert_eq!(rig.count(task, "task.timeout").await, 1);
    let work = "work".to_owned();
    assert_eq!(
        rig.history(task).await,
        [
            (1, "silent".to_owned(), work.clone(), false, Some("timeout".to_owned())),
            (2, "spoken".to_owned(), work, true, None),
        ]
    );
}

#[tokio::test]
async fn m1_6_one_row_of_history_per_attempt_whatever_comes_twice() {
    let rig = Rig::new().await;
    let a = rig.agent("a", 0.9, |_| Act::Answer(Err(ErrorType::ApiError))).await;
    let b = rig.agent("b", 0.7, |_| Act::Answer(fine())).await;
    let task = rig.submit(json!({})).await;
    rig.task_in(task, "completed").await;
    let before = (rig.history(task).await, rig.events(task).await);
    let work = "work".to_owned();
    assert_eq!(
        before.0,
        [(1, "a".to_owned(), work.clone(), false, Some("api_error".to_owned())), (2, "b".to_owned(), work, true, None),]
    );
    let context = "SELECT context::text FROM agent_task_history WHERE attempt = 1";
    let context: String = rig.sql().await.query_one(context, &[]).await.unwrap().get(0);
    let context: serde_json::Value = serde_json::from_str(&context).unwrap();
    let trace = rig.task(task).await["traceId"].clone();
    assert_eq!(context, json!({"priority": 5, "score": 0.9, "traceId": trace}), "for people");
    for _ in 0..2 {
        a.publish(&a.result(&a.seen()[0], Err(ErrorType::ApiError))).await;
        b.publish(&b.result(&b.seen()[0], fine())).await;
    }
    assert_eq!((rig.history(task).await, rig.events(task).await), before, "redelivery adds nothing");
}

#[tokio::test]
async fn an_agent_that_gives_up_is_unavailable_and_the_task_goes_on() {
    let rig = Rig::new().await;
    rig.agent("leaves", 0.9, |_| Act::Answer(Err(ErrorType::Unavailable))).await;
    rig.agent("stays", 0.5, |_| Act::Answer(fine())).await;
    let task = rig.submit(json!({})).await;
    rig.task_in(task, "completed").await;
    let sql = rig.sql().await;
    let outcome = "SELECT outcome FROM task_attempts WHERE attempt = 1";
    assert_eq!(sql.query_one(outcome, &[]).await.unwrap().get::<_, String>(0), "unavailable");
}

#[tokio::test]
async fn cancelling_ends_a_task_once_and_its_answer_no_longer_counts() {
    let rig = Rig::new().await;
    let a = rig.agent("a", 0.9, |_| Act::Hang).await;
    let task = rig.submit(json!({})).await;
    wait_until(LONG, async || !a.seen().is_empty()).await;
    let path = format!("/api/v1/tasks/{task}");
    for _ in 0..2 {
        let (status, _, body) = rig.call(axum::http::Method::DELETE, &path, &[], "").await;
        assert_eq!((status.as_u16(), &body["status"]), (200, &json!("cancelled")));
    }
    let result = a.result(&a.seen()[0], fine());
    a.finish(&result).await;
    wait_until(LONG, async || rig.count(task, "task.result.rejected").await == 1).await;
    a.publish(&result).await;
    assert_eq!(rig.task(task).await["status"], "cancelled");
    assert_eq!(rig.history(task).await, [], "nobody is to blame");
    assert_eq!(rig.count(task, "task.cancelled").await, 1);
    assert_eq!(rig.count(task, "task.result.rejected").await, 1);
    let done = rig.agent("b", 1.0, |_| Act::Answer(fine())).await;
    let other = rig.submit(json!({})).await;
    rig.task_in(other, "completed").await;
    let (status, _, body) = rig.call(axum::http::Method::DELETE, &format!("/tasks/{other}"), &[], "").await;
    assert_eq!((status.as_u16(), &body["error"]["type"]), (409, &json!("conflict")));
    assert_eq!(done.seen().len(), 1);
}
