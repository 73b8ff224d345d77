//! Each builder of the catalogue, as JSON, against the generated schema.

use mesh_six_core::{
    ErrorType, Event, Usage,
    agent::{AgentCapability, AgentStatus},
    event::{
        self,
        catalogue::{self, CallContext, KNOWN, LlmCall, LlmResponse, RejectReason, TaskEnd, known_version},
    },
    scoring::{ScoreInput, score},
    task::{TaskError, TaskProgress, TaskResult, TaskStatus},
};
use serde_json::{Value, json};

use crate::support::{after, now, request, stored, task_id, trace_id, v7};

fn usage() -> Usage {
    Usage { input_tokens: 420, output_tokens: 69, cached_input_tokens: 128, cost_usd: Some(0.0021), requests: 1 }
}

fn result(success: bool) -> TaskResult {
    let outcome = if success {
        Ok(json!({"response": "Rayleigh scattering"}))
    } else {
        Err(TaskError { error_type: ErrorType::LlmError, message: "the model answered 500".to_owned() })
    };
    let mut result = TaskResult::new(&request(), "simple-agent", outcome, 1_234, usage());
    result.completed_at = after(1_300);
    result
}

fn ended(status: TaskStatus, error_type: Option<ErrorType>) -> Event {
    let hash = error_type.is_none().then(|| result(true).result_hash);
    let agent_id = Some("simple-agent".to_owned());
    let end = TaskEnd { attempts: 1, agent_id, duration_ms: 1_400, error_type, result_hash: hash };
    catalogue::task_ended(task_id(), trace_id(), status, &end)
}

/// One event of each builder, named; what the clock or chance gives is fixed.
fn examples() -> Vec<(&'static str, Event)> {
    let request = request();
    let capability = AgentCapability::new("general-query", 0.8);
    let card = score(&ScoreInput {
        agent_id: "simple-agent",
        capability: &capability,
        status: AgentStatus::Online,
        healthy: true,
        history: &[],
        in_flight: 2,
    });
    let note = TaskProgress {
        task_id: task_id(),
        agent_id: "simple-agent".to_owned(),
        trace_id: trace_id(),
        status: "started".to_owned(),
        details: None,
    };
    let cx = CallContext { trace_id: trace_id(), agent_id: "simple-agent".to_owned(), task_id: Some(task_id()) };
    let call =
        LlmCall { call_id: v7(now(), 7), model: "offline".to_owned(), attempt: 1, step: 1, ..LlmCall::default() };
    let response = LlmResponse {
        call_id: v7(now(), 7),
        model: "offline".to_owned(),
        duration_ms: 900,
        response_length: 19,
        finish_reason: "stop".to_owned(),
        attempt: 1,
        step: 1,
        usage: usage(),
        ..LlmResponse::default()
    };
    let failed = LlmResponse {
        finish_reason: "error".to_owned(),
        error: Some(json!({"type": "llm_error", "message": "500", "status": 500})),
        ..response.clone()
    };
    let mut next = request.clone();
    next.attempt = 2;
    let unowned = CallContext { task_id: None, ..cx.clone() };
    let events = vec![
        ("task_submitted", catalogue::task_submitted(&request)),
        ("task_dispatched", catalogue::task_dispatched(&request, "simple-agent", &[card], after(3))),
        ("task_progress", catalogue::task_progress(&note, "simple-agent", "note-1", after(10))),
        ("task_result", catalogue::task_result(&result(true), true)),
        ("task_result_failed", catalogue::task_result(&result(false), true)),
        ("task_result_unconfirmed", catalogue::task_result(&result(true), false)),
        ("task_result_rejected", catalogue::task_result_rejected(&result(true), trace_id(), RejectReason::WrongAgent)),
        ("task_timeout", catalogue::task_timeout(&request, 1, "simple-agent", ErrorType::Timeout)),
        ("task_retry", catalogue::task_retry(&next, "simple-agent", "other-agent", ErrorType::Timeout)),
        ("task_completed", ended(TaskStatus::Completed, None)),
        ("task_failed", ended(TaskStatus::Failed, Some(ErrorType::Timeout))),
        ("task_cancelled", ended(TaskStatus::Cancelled, Some(ErrorType::Cancelled))),
        ("llm_call", catalogue::llm_call(&cx, &call)),
        ("llm_response", catalogue::llm_response(&cx, &response)),
        ("llm_response_error", catalogue::llm_response(&cx, &failed)),
        ("llm_call_without_task", catalogue::llm_call(&unowned, &call)),
        ("tool_invocation", catalogue::tool_invocation(&cx, "call-1", "clock", "{}")),
        ("tool_result", catalogue::tool_result(&cx, "call-1", "clock", None, 2)),
        ("tool_result_failed", catalogue::tool_result(&cx, "call-1", "clock", Some("no clock"), 2)),
        ("agent_registered", catalogue::agent_registered("simple-agent", &[capability], &["model".to_owned()])),
        ("agent_deregistered", catalogue::agent_deregistered("simple-agent", "shutdown")),
    ];
    events
        .into_iter()
        .map(|(name, mut event)| {
            event.id = v7(now(), 10);
            event.trace_id = trace_id();
            event.occurred_at = event.occurred_at.min(after(60_000));
            (name, event)
        })
        .collect()
}

#[test]
fn each_builder_gives_the_same_row_for_ever() {
    let mut all = serde_json::Map::new();
    for (name, event) in examples() {
        assert!(event.check(now()).is_ok(), "{name}");
        let mut event = json!(event);
        // Builders without a time of their own take the clock's.
        if !["task_submitted", "task_dispatched", "task_progress"].contains(&name) && !name.starts_with("task_result") {
            event["occurredAt"] = json!("[now]");
        }
        if name == "task_result_rejected" {
            event["occurredAt"] = json!("[now]");
        }
        all.insert(name.to_owned(), event);
    }
    insta::assert_json_snapshot!(all);
}

#[test]
fn both_paths_give_one_key() {
    let key = |e: Event| e.idempotency_key.unwrap();
    assert_eq!(key(catalogue::task_result(&result(true), true)), key(catalogue::task_result(&result(true), false)));
    let ends = [TaskStatus::Completed, TaskStatus::Failed, TaskStatus::Cancelled].map(|s| key(ended(s, None)));
    assert!(ends.iter().all(|k| *k == ends[0]), "a task ends once");
}

#[test]
fn the_schema_of_events() {
    insta::assert_json_snapshot!(event::schema());
}

#[test]
fn every_builder_meets_the_schema_and_damage_does_not() {
    let validator = jsonschema::validator_for(&event::schema()).unwrap();
    let check = |event: &Value| validator.iter_errors(event).map(|e| e.to_string()).collect::<Vec<_>>();
    for (name, event) in examples() {
        let row = json!(stored(vec![event.clone()])[0]);
        assert_eq!(check(&row), Vec::<String>::new(), "{name}: {row}");
        let mut damaged = row.clone();
        damaged["payload"] = json!({});
        assert_ne!(check(&damaged), Vec::<String>::new(), "{name} without its payload's members");
        damaged["payload"] = json!({"truncated": true, "originalLength": 70_000, "beginning": "{"});
        assert_eq!(check(&damaged), Vec::<String>::new(), "{name}, cut");
        damaged["eventType"] = json!("custom.fact");
        damaged["payload"] = json!([1]);
        assert_eq!(check(&damaged), Vec::<String>::new(), "unknown types may have any payload");
        damaged["traceId"] = json!("short");
        assert_ne!(check(&damaged), Vec::<String>::new());
    }
}

#[test]
fn every_known_type_has_a_version_and_a_legal_name() {
    for name in KNOWN {
        assert_eq!(known_version(name), Some(1));
        assert!(
            Event::new(name, "a", trace_id(), json!({})).check(now() + chrono::Duration::days(3650)).is_ok(),
            "{name}"
        );
    }
    assert_eq!(known_version("custom.fact"), None);
}
