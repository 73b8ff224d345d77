//! Drawings of stories with fixed times.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should fail there")]

use chrono::Duration;
use mesh_six_core::{
    Event, TraceId,
    event::{Position, spans::spans},
};
use serde_json::{Value, json};
use uuid::Uuid;

use super::*;

const TASK: Uuid = Uuid::from_u128(0x01a2_06f1_cc8b_7455_b34f_5bc9_fe81_06a1);

fn after(ms: i64) -> DateTime<Utc> {
    "2026-11-27T04:00:00Z".parse::<DateTime<Utc>>().unwrap() + Duration::milliseconds(ms)
}

/// What happened, as (milliseconds, type, agent, payload).
fn story(facts: &[(i64, &str, &str, Value)]) -> Vec<StoredEvent> {
    (1..)
        .zip(facts)
        .map(|(seq, (ms, event_type, agent, payload))| {
            let trace = TraceId::from_uuid(Uuid::from_u128(0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736));
            let mut event = Event::new(event_type, agent, trace, payload.clone()).of_task(TASK).at(after(*ms));
            event.id = Uuid::from_u128(u128::try_from(seq).unwrap());
            StoredEvent { seq, txid: 1, timestamp: after(*ms), position: Position::of(1, seq, after(*ms)), event }
        })
        .collect()
}

fn submitted() -> (i64, &'static str, &'static str, Value) {
    (0, "task.submitted", "orchestrator", json!({"capability": "general-query", "priority": 5}))
}

fn dispatched(ms: i64, attempt: i32, agent: &str) -> (i64, &'static str, &'static str, Value) {
    let payload = json!({"capability": "general-query", "targetAgent": agent, "attempt": attempt});
    (ms, "task.dispatched", "orchestrator", payload)
}

fn call(ms: i64, agent: &'static str, n: u128) -> (i64, &'static str, &'static str, Value) {
    (ms, "llm.call", agent, json!({"callId": Uuid::from_u128(n), "model": "gpt-4o"}))
}

/// Its answer; from `error` on that, where there is one.
fn response(
    ms: i64,
    agent: &'static str,
    n: u128,
    took: i64,
    error: Option<&Value>,
) -> (i64, &'static str, &'static str, Value) {
    let usage = match error {
        None => {
            json!({"inputTokens": 400, "cachedInputTokens": 120, "outputTokens": 31, "costUsd": 0.0021, "requests": 1})
        }
        Some(_) => json!({"requests": 1}),
    };
    let payload = json!({
        "callId": Uuid::from_u128(n), "model": "gpt-4o-2024", "durationMs": took, "usage": usage, "error": error,
        "finishReason": if error.is_some() { "error" } else { "stop" },
    });
    (ms, "llm.response", agent, payload)
}

fn ended(ms: i64, event_type: &'static str, more: &Value) -> (i64, &'static str, &'static str, Value) {
    let mut payload = json!({"attempts": 1, "durationMs": ms});
    payload.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    (ms, event_type, "orchestrator", payload)
}

/// The first attempt fails, the second is lost, the third answers with the help of a tool.
fn three_attempts() -> Vec<StoredEvent> {
    let tool = json!({"callId": "c", "toolName": "search", "inputSummary": "sky"});
    let found = json!({"callId": "c", "toolName": "search", "success": true, "durationMs": 700});
    let failed =
        json!({"attempt": 1, "success": false, "durationMs": 1_900, "errorType": "llm_error", "resultHash": "a"});
    let answer = json!({"attempt": 3, "success": true, "durationMs": 3_300, "resultHash": "b"});
    let error = json!({"type": "llm_error", "message": "the model is overloaded", "status": 529});
    story(&[
        submitted(),
        dispatched(3, 1, "architect-agent"),
        call(150, "architect-agent", 1),
        response(2_000, "architect-agent", 1, 1_850, Some(&error)),
        (2_003, "task.result", "architect-agent", failed),
        dispatched(2_010, 2, "simple-agent"),
        call(2_100, "simple-agent", 2),
        (
            4_800,
            "task.timeout",
            "orchestrator",
            json!({"attempt": 2, "agentId": "simple-agent", "reason": "unavailable"}),
        ),
        dispatched(5_000, 3, "researcher-agent"),
        call(6_700, "researcher-agent", 3),
        response(8_000, "researcher-agent", 3, 1_300, None),
        (8_001, "tool.invocation", "researcher-agent", tool),
        (8_701, "tool.result", "researcher-agent", found),
        call(8_705, "researcher-agent", 4),
        response(9_900, "researcher-agent", 4, 1_195, None),
        (9_990, "task.result", "researcher-agent", answer),
        ended(10_000, "task.completed", &json!({"attempts": 3, "agentId": "researcher-agent", "resultHash": "b"})),
    ])
}

/// The drawing, without colours and with a mark where a line ends.
fn drawn(events: &[StoredEvent], now: i64, width: usize) -> String {
    let spans = spans(events);
    let lines = head(events, &spans).into_iter().chain(waterfall(&spans, after(now), width));
    let plain = lines.map(|line| anstream::adapter::strip_str(&line).to_string());
    let lines: Vec<String> = plain.map(|line| line.trim_end().to_owned()).collect();
    assert!(lines.iter().skip(2).all(|line| line.width() <= width), "{lines:#?}");
    lines.join("\n")
}

#[test]
fn a_task_with_retries() {
    insta::assert_snapshot!("retries on 120 columns", drawn(&three_attempts(), 99_000, 120));
    insta::assert_snapshot!("retries on 80 columns", drawn(&three_attempts(), 99_000, 80));
    insta::assert_snapshot!("retries on 40 columns", drawn(&three_attempts(), 99_000, 40));
}

#[test]
fn a_task_under_way_goes_on_until_now() {
    let running = &three_attempts()[..11];
    insta::assert_snapshot!("running", drawn(running, 8_500, 100));
}

#[test]
fn a_task_that_was_cancelled() {
    let events = story(&[
        submitted(),
        dispatched(2, 1, "simple-agent"),
        call(20, "simple-agent", 1),
        ended(1_000, "task.cancelled", &json!({"errorType": "cancelled"})),
    ]);
    insta::assert_snapshot!("cancelled", drawn(&events, 5_000, 100));
}

#[test]
fn a_task_that_took_no_time_and_one_that_failed() {
    let answer = json!({"attempt": 1, "success": true, "durationMs": 0, "resultHash": "b"});
    let quick = story(&[
        submitted(),
        dispatched(0, 1, "simple-agent"),
        call(0, "simple-agent", 1),
        response(0, "simple-agent", 1, 0, None),
        (0, "task.result", "simple-agent", answer),
        ended(0, "task.completed", &json!({"resultHash": "b"})),
    ]);
    insta::assert_snapshot!("no time at all", drawn(&quick, 0, 100));
    let failed = story(&[submitted(), ended(30_000, "task.failed", &json!({"errorType": "no_agent"}))]);
    insta::assert_snapshot!("failed without an attempt", drawn(&failed, 0, 100));
}

#[test]
fn only_errors_and_cancellations_are_coloured_as_such() {
    let spans = spans(&three_attempts());
    let red = "\u{1b}[31m";
    for (span, line) in spans.iter().zip(waterfall(&spans, after(0), 120)) {
        assert_eq!(line.contains(red), span.state == SpanState::Failed, "{line:?}");
    }
}

#[test]
fn no_line_is_wider_than_the_terminal_and_nothing_moves_its_cursor() {
    let mut events = three_attempts();
    events[2].event.payload["model"] = json!("\u{1b}[2J汉字".repeat(40));
    events[3].event.payload["model"] = json!("\u{1b}[2J汉字".repeat(40));
    for width in [1, 10, 20, 33, 60, 79, 200, 500] {
        let spans = spans(&events);
        for line in waterfall(&spans, after(0), width) {
            let plain = anstream::adapter::strip_str(&line).to_string();
            assert!(!line.contains("\u{1b}[2J"), "{line:?}");
            assert!(width < 33 || plain.width() <= width, "{width}: {plain:?}");
        }
    }
}
