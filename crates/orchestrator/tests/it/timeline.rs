//! A task's timeline: its events, each with the state after it.

use axum::http::StatusCode;
use mesh_six_core::{
    Event, StoredEvent, TraceId,
    event::{
        catalogue::{self, CallContext, LlmCall, LlmResponse, TaskEnd},
        replay::TaskState,
    },
    id::new_id,
    task::{TaskResult, TaskStatus},
    time,
};
use mesh_six_db::events::EventLog;
use mesh_six_testing::samples::{AGENT, note, request, result};
use serde_json::{Value, json};

use crate::rig::Rig;

/// A position before the end of the month that [`DROPPED`] says was dropped.
const GONE: &str = "1-1-1-200001";
const DROPPED: &str = "INSERT INTO mesh_six_event_months (month, dropped_rows, dropped_at, last_txid, last_seq) \
    VALUES (200001, 2, now(), 1, 2)";

/// A task from its acceptance to its end, and its answer.
fn story() -> (Vec<Event>, TaskResult) {
    let request = request();
    let answer = result(&request);
    let cx = CallContext { trace_id: request.trace_id, agent_id: AGENT.to_owned(), task_id: Some(request.id) };
    let end = TaskEnd {
        attempts: 1,
        agent_id: Some(AGENT.to_owned()),
        duration_ms: 20,
        error_type: None,
        result_hash: Some(answer.result_hash.clone()),
    };
    let began = time::now();
    let events = vec![
        catalogue::task_submitted(&request),
        catalogue::task_dispatched(&request, AGENT, &[], began),
        catalogue::llm_call(&cx, &LlmCall::default()),
        catalogue::llm_response(&cx, &LlmResponse::default()),
        catalogue::task_progress(&note(&request, "thinking"), AGENT, "n", began),
        catalogue::task_result(&answer, true),
        catalogue::task_ended(request.id, request.trace_id, TaskStatus::Completed, &end),
    ];
    let at = |n: usize| began + chrono::Duration::milliseconds(i64::try_from(n).unwrap() * 10);
    (events.into_iter().enumerate().map(|(n, event)| event.at(at(n))).collect(), answer)
}

#[tokio::test]
async fn e_9_a_timeline_shows_each_event_with_the_state_after_it() {
    let rig = Rig::new().await;
    let log = EventLog::start(rig.db.clone());
    let (events, answer) = story();
    for event in &events {
        let stranger = Event::new("test.step", "tests", TraceId::new(), json!({})).of_task(new_id());
        log.append(vec![stranger, event.clone()]).await.unwrap();
    }
    let path = format!("/api/v1/tasks/{}/timeline", answer.task_id);
    let (status, whole) = rig.get(&path).await;
    assert_eq!(status, StatusCode::OK, "{whole}");
    assert_eq!(rig.get(path.trim_start_matches("/api/v1")).await, (status, whole.clone()));
    let steps = whole["steps"].as_array().unwrap();
    assert_eq!(steps.len(), events.len());
    // Each state is what the reducer makes of the events so far.
    let mut state = TaskState::default();
    for (number, step) in steps.iter().enumerate() {
        let event: StoredEvent = serde_json::from_value(step["event"].clone()).unwrap();
        assert_eq!(event.event, events[number]);
        state.apply(&event);
        assert_eq!(step["state"], json!(state), "{}", event.event.event_type);
        assert_eq!(step["elapsedMs"], json!(number * 10));
        assert_eq!(step["time"], json!(time::format(event.event.occurred_at)));
    }
    assert_eq!(whole["state"], json!(state));
    let statuses: Vec<&Value> = steps.iter().map(|step| &step["state"]["status"]).collect();
    let expected =
        ["pending", "dispatched", "dispatched", "dispatched", "dispatched", "dispatched", "completed"].map(Value::from);
    assert_eq!(statuses, expected.iter().collect::<Vec<_>>());

    // Page by page the same steps; the state is always that of the whole.
    for limit in 1..=events.len() + 1 {
        let (mut paged, mut query) = (Vec::new(), format!("?limit={limit}"));
        loop {
            let (_, page) = rig.get(&format!("{path}{query}")).await;
            assert_eq!(page["state"], whole["state"]);
            paged.extend(page["steps"].as_array().unwrap().iter().cloned());
            let Some(next) = page["next"].as_str() else { break };
            query = format!("?limit={limit}&after={next}");
        }
        assert_eq!(&paged, steps, "{limit}");
    }
}

#[tokio::test]
async fn a_timeline_of_nothing_is_not_found_and_a_wrong_condition_is_named() {
    let rig = Rig::new().await;
    let task = new_id();
    let (status, unknown) = rig.get(&format!("/api/v1/tasks/{task}/timeline")).await;
    assert_eq!((status, &unknown["error"]["field"]), (StatusCode::NOT_FOUND, &json!("taskId")));
    assert_eq!(unknown["error"]["type"], "not_found");
    for (path, field) in [
        ("no-uuid/timeline".to_owned(), "taskId"),
        (format!("{task}/timeline?limit=0"), "limit"),
        (format!("{task}/timeline?limit=1001"), "limit"),
        (format!("{task}/timeline?limit=-1"), "limit"),
        (format!("{task}/timeline?after=7"), "after"),
        (format!("{task}/timeline?before=7"), "before"),
    ] {
        let (status, answer) = rig.get(&format!("/api/v1/tasks/{path}")).await;
        assert_eq!((status, &answer["error"]["field"]), (StatusCode::BAD_REQUEST, &json!(field)), "{path}");
    }
    rig.sql().await.batch_execute(DROPPED).await.unwrap();
    let (status, gone) = rig.get(&format!("/api/v1/tasks/{task}/timeline?after={GONE}")).await;
    assert_eq!(status, StatusCode::GONE, "{gone}");
}

#[tokio::test]
async fn a_story_longer_than_a_page_of_the_database_is_folded_whole() {
    let rig = Rig::new().await;
    let log = EventLog::start(rig.db.clone());
    let (events, answer) = story();
    let (ended, begun) = events.split_last().unwrap();
    log.append(begun.to_vec()).await.unwrap();
    let notes = (0..2_100).map(|n| {
        let id = format!("note {n}");
        catalogue::task_progress(&note(&request(), "thinking"), AGENT, &id, time::now()).of_task(answer.task_id)
    });
    log.append(notes.collect()).await.unwrap();
    log.append(vec![ended.clone()]).await.unwrap();
    let path = format!("/api/v1/tasks/{}/timeline?limit=2", answer.task_id);
    let (_, page) = rig.get(&path).await;
    assert_eq!(page["steps"].as_array().unwrap().len(), 2);
    assert_eq!((&page["state"]["status"], &page["state"]["progress"]), (&json!("completed"), &json!(2_101)));
}
