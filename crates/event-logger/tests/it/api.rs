//! The read API.

use axum::http::StatusCode;
use mesh_six_core::{Event, TraceId, id::new_id, time};
use mesh_six_testing::samples::{self, dispatched};
use serde_json::{Value, json};

use crate::{ask, rig::Rig};

/// A position before the end of the month that [`DROPPED`] says was dropped.
const GONE: &str = "1-1-1-200001";
const DROPPED: &str = "INSERT INTO mesh_six_event_months (month, dropped_rows, dropped_at, last_txid, last_seq) \
    VALUES (200001, 2, now(), 1, 2)";

fn event(number: usize) -> Event {
    Event::new("test.step", "tests", TraceId::new(), json!({ "n": number }))
}

/// The numbers on a page, and where the next begins.
async fn page(rig: &Rig, query: &str) -> (Vec<u64>, Option<String>) {
    let answer = ask::get(rig.router(), &format!("/api/v1/events?{query}")).await;
    assert_eq!(answer.status, StatusCode::OK, "{query}: {}", answer.text);
    let body = answer.json();
    let numbers = body["events"].as_array().unwrap().iter().map(|e| e["payload"]["n"].as_u64().unwrap()).collect();
    (numbers, body["next"].as_str().map(str::to_owned))
}

#[tokio::test]
async fn each_condition_of_a_query_works() {
    let rig = Rig::start().await;
    let (task, trace) = (new_id(), TraceId::new());
    let mut events: Vec<Event> = (0..6).map(event).collect();
    events[1].trace_id = trace;
    events[2] = events[2].clone().of_task(task);
    events[3].aggregate_id = Some("thing: ä&b".to_owned());
    "other".clone_into(&mut events[4].agent_id);
    "test.other".clone_into(&mut events[4].event_type);
    // One transaction each, so that each has a time of its own.
    for event in events {
        rig.log.append(vec![event]).await.unwrap();
    }
    let stored = rig.events().await;
    let at = |n: usize| time::format(stored[n].timestamp);
    let position = |n: usize| stored[n].position;
    let cases: Vec<(String, &[u64])> = vec![
        (String::new(), &[0, 1, 2, 3, 4, 5]),
        (format!("traceId={trace}"), &[1]),
        (format!("traceId={}", trace.as_uuid()), &[1]),
        (format!("taskId={task}"), &[2]),
        (format!("aggregateId=task:{task}"), &[2]),
        ("aggregateId=thing%3A+%C3%A4%26b".to_owned(), &[3]),
        ("agentId=other".to_owned(), &[4]),
        ("eventType=test.other".to_owned(), &[4]),
        (format!("since={}", at(4)), &[4, 5]),
        (format!("since={}", at(4).replace('Z', "%2B00:00")), &[4, 5]),
        (format!("until={}", at(1)), &[0, 1]),
        (format!("since={}&until={}", at(2), at(3)), &[2, 3]),
        (format!("after={}", position(3)), &[4, 5]),
        (format!("before={}", position(2)), &[0, 1]),
        (format!("after={}&before={}", position(0), position(3)), &[1, 2]),
        ("limit=2".to_owned(), &[0, 1]),
        ("limit=1000".to_owned(), &[0, 1, 2, 3, 4, 5]),
        ("desc=true".to_owned(), &[5, 4, 3, 2, 1, 0]),
        ("desc=false&limit=1".to_owned(), &[0]),
        ("desc=true&limit=2".to_owned(), &[5, 4]),
        (format!("desc=true&before={}&limit=2", position(4)), &[3, 2]),
        (format!("eventType=test.step&agentId=tests&since={}&desc=true&limit=2", at(1)), &[5, 3]),
        ("agentId=nobody".to_owned(), &[]),
        (format!("since={}", at(5).replace("20", "21")), &[]),
    ];
    for (query, expected) in cases {
        assert_eq!(page(&rig, &query).await.0, expected, "{query}");
    }
    let plain = ask::get(rig.router(), "/events?limit=2").await;
    assert_eq!(plain.json(), ask::get(rig.router(), "/api/v1/events?limit=2").await.json(), "as in the original");
}

#[tokio::test]
async fn a_wrong_condition_is_named() {
    let rig = Rig::start().await;
    for (query, field) in [
        ("limit=0", "limit"),
        ("limit=1001", "limit"),
        ("limit=-1", "limit"),
        ("limit=many", "limit"),
        ("limit=", "limit"),
        ("limit=99999999999999999999", "limit"),
        ("limit=1&limit=2", "limit"),
        ("desc=1", "desc"),
        ("desc=", "desc"),
        ("taskId=7", "taskId"),
        ("traceId=7", "traceId"),
        ("traceId=00000000000000000000000000000000", "traceId"),
        ("since=yesterday", "since"),
        ("until=2026-11-23", "until"),
        ("after=7", "after"),
        ("after=start", "after"),
        ("before=1-0-0-000013", "before"),
        ("agentId=a%00b", "agentId"),
        ("eventType=a%00b", "eventType"),
        ("aggregateId=a%00b", "aggregateId"),
        ("task=7", "task"),
    ] {
        for path in ["/api/v1/events", "/api/v1/events/tail"] {
            let answer = ask::get(rig.router(), &format!("{path}?{query}")).await;
            assert_eq!((answer.status, answer.field().as_str()), (StatusCode::BAD_REQUEST, field), "{path}?{query}");
        }
    }
    for (path, field) in [
        ("/api/v1/events/tail?limit=5", "limit"),
        ("/api/v1/events/tail?before=1-0-0-000000", "before"),
        ("/api/v1/events/tail?desc=true", "desc"),
        ("/api/v1/events/replay/task:x?after=7", "after"),
        ("/api/v1/events/replay/task:x?before=1-0-0-000000", "before"),
        ("/api/v1/events/replay/a%00b", "aggregateId"),
        ("/api/v1/events/replay/a%ff", "aggregate"),
    ] {
        let answer = ask::get(rig.router(), path).await;
        assert_eq!((answer.status, answer.field().as_str()), (StatusCode::BAD_REQUEST, field), "{path}");
    }
    for id in ["7", "", "1-0-0-0"] {
        let request = axum::http::Request::get("/events/tail").header("Last-Event-ID", id);
        let answer = ask::send(rig.router(), request.body(axum::body::Body::empty()).unwrap()).await;
        assert_eq!((answer.status, answer.field().as_str()), (StatusCode::BAD_REQUEST, "Last-Event-ID"));
    }
    insta::assert_json_snapshot!(ask::get(rig.router(), "/events?limit=1001").await.json());
}

#[tokio::test]
async fn pages_lead_to_the_end_without_loss_in_both_directions() {
    let rig = Rig::start().await;
    rig.log.append((0..12).map(event).collect()).await.unwrap();
    for number in 12..25 {
        rig.log.append(vec![event(number)]).await.unwrap();
    }
    for (desc, on) in [(false, "after"), (true, "before")] {
        for limit in [1, 5, 7, 24, 25, 26] {
            let (mut seen, mut query, mut pages) = (Vec::new(), format!("desc={desc}&limit={limit}"), 0);
            loop {
                let (numbers, next) = page(&rig, &query).await;
                assert!(numbers.len() <= limit);
                seen.extend(numbers);
                pages += 1;
                let Some(next) = next else { break };
                query = format!("desc={desc}&limit={limit}&{on}={next}");
            }
            let mut expected: Vec<u64> = (0..25).collect();
            if desc {
                expected.reverse();
            }
            assert_eq!(seen, expected, "{on} {limit}");
            assert_eq!(pages, 25 / limit + 1);
        }
    }
}

#[tokio::test]
async fn a_position_whose_month_is_gone_is_told_with_the_first_that_is_there() {
    let rig = Rig::start().await;
    rig.log.append(vec![event(0)]).await.unwrap();
    rig.database.client().await.batch_execute(DROPPED).await.unwrap();
    for path in ["/api/v1/events", "/api/v1/events/tail", "/api/v1/events/replay/task:x"] {
        let answer = ask::get(rig.router(), &format!("{path}?after={GONE}")).await;
        assert_eq!(answer.status, StatusCode::GONE, "{path}: {}", answer.text);
        let first = answer.json()["error"]["details"]["first"].as_str().unwrap().to_owned();
        assert_eq!(page(&rig, &format!("after={first}")).await.0, [0], "from there on all is to be had");
    }
}

#[tokio::test]
async fn a_replay_is_an_aggregate_s_events_line_by_line() {
    let rig = Rig::start().await;
    let (task, other) = (new_id(), new_id());
    // More than one page of the database.
    let events = (0..1_100).map(|n| event(n).of_task(if n % 11 == 0 { other } else { task })).collect();
    rig.log.append(events).await.unwrap();
    let replay = async |query: &str| -> Vec<Value> {
        let answer = ask::get(rig.router(), &format!("/api/v1/events/replay/task:{task}{query}")).await;
        assert_eq!(answer.status, StatusCode::OK);
        assert_eq!(answer.headers["content-type"], "application/x-ndjson");
        assert!(answer.text.is_empty() || answer.text.ends_with('\n'));
        answer.text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    let lines = replay("").await;
    let numbers: Vec<_> = lines.iter().map(|l| l["payload"]["n"].as_u64().unwrap()).collect();
    assert_eq!(numbers, (0..1_100).filter(|n| n % 11 != 0).collect::<Vec<_>>());
    let rest = replay(&format!("?after={}", lines[989]["position"].as_str().unwrap())).await;
    assert_eq!(rest, lines[990..]);
    let none = ask::get(rig.router(), "/events/replay/project:none").await;
    assert_eq!((none.status, none.text.as_str()), (StatusCode::OK, ""));
}

#[tokio::test]
async fn answers_look_like_this() {
    let rig = Rig::start().await;
    let mut fact = dispatched(&samples::request());
    let task = fact.task_id.unwrap();
    fact.idempotency_key = Some("a key of somebody".to_owned());
    rig.log.append(vec![fact]).await.unwrap();
    let answer = ask::get(rig.router(), "/api/v1/events").await;
    let ids = |part: &str| -> Vec<String> {
        ["seq", "txid", "timestamp", "position", "id", "traceId", "taskId", "occurredAt"]
            .map(|name| format!("{part}{name}"))
            .to_vec()
    };
    let mut settings = insta::Settings::clone_current();
    for path in ids(".events[].").into_iter().chain(ids(".")) {
        settings.add_redaction(path.as_str(), "[own]");
    }
    settings.bind(|| {
        insta::assert_json_snapshot!("page", answer.json());
    });
    let line = ask::get(rig.router(), &format!("/api/v1/events/replay/task:{task}")).await;
    settings.bind(|| insta::assert_json_snapshot!("line", line.json()));
    let schema = ask::get(rig.router(), "/api/v1/events/schema").await;
    assert!(schema.text.contains("task.dispatched"));
}

#[tokio::test]
async fn statistics_of_a_window() {
    let rig = Rig::start().await;
    rig.log.append((0..3).map(event).collect()).await.unwrap();
    let answer = ask::get(rig.router(), "/api/v1/events/stats?agentId=tests").await.json();
    assert_eq!((&answer["count"], &answer["errors"]), (&json!(3), &json!(0)));
    assert_eq!(answer["groups"], json!([{"eventType": "test.step", "agentId": "tests", "count": 3, "errors": 0}]));
    let none = ask::get(rig.router(), "/events/stats?until=2026-01-01T00:00:00Z").await.json();
    assert_eq!((&none["count"], &none["since"]), (&json!(0), &json!("2025-12-31T00:00:00.000000Z")));
    for (query, field) in [
        ("since=yesterday", "since"),
        ("since=2026-01-02T00:00:00Z&until=2026-01-01T00:00:00Z", "since"),
        ("agentId=a%00b", "agentId"),
        ("agent=a", "agent"),
    ] {
        let answer = ask::get(rig.router(), &format!("/api/v1/events/stats?{query}")).await;
        assert_eq!((answer.status, answer.field().as_str()), (StatusCode::BAD_REQUEST, field), "{query}");
    }
}

#[test]
fn the_public_api_is_described() {
    let mut described = json!(mesh_six_event_logger::openapi());
    described.as_object_mut().unwrap().remove("info");
    insta::assert_json_snapshot!(described);
}
