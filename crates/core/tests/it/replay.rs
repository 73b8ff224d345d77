//! The reducer: prefixes, duplicates, late events and order (criterion E.9's pure half).

use mesh_six_core::{
    ErrorType, Event, StoredEvent, Usage,
    event::{
        catalogue::{self, CallContext, LlmCall, LlmResponse, RejectReason, TaskEnd},
        replay::TaskState,
    },
    task::{AttemptOutcome, TaskError, TaskRequest, TaskResult, TaskStatus},
};
use proptest::prelude::*;
use serde_json::json;

use crate::support::{after, now, request, stored, task_id, v7};

/// How an attempt of a made-up history goes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Way {
    Success,
    Failure,
    Timeout,
    Lost,
    /// Timed out, then answered: refused as late unless the task still goes on.
    LateSuccess,
}

#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) ways: Vec<(Way, usize)>,
    pub(crate) cancelled: bool,
    pub(crate) strangers: usize,
}

pub(crate) fn plan() -> impl Strategy<Value = Plan> {
    let way = prop_oneof![
        Just(Way::Success),
        Just(Way::Failure),
        Just(Way::Timeout),
        Just(Way::Lost),
        Just(Way::LateSuccess)
    ];
    (prop::collection::vec((way, 0..4_usize), 1..=3), any::<bool>(), 0..3_usize)
        .prop_map(|(ways, cancelled, strangers)| Plan { ways, cancelled, strangers })
}

fn agent(attempt: i32) -> String {
    format!("agent-{attempt}")
}

/// One model request, and a tool call for each.
fn calls(attempt: i32, count: usize, at: i64) -> Vec<Event> {
    let cx = CallContext { trace_id: request().trace_id, agent_id: agent(attempt), task_id: Some(task_id()) };
    let usage =
        Usage { input_tokens: 100, output_tokens: 10, cached_input_tokens: 50, cost_usd: Some(0.125), requests: 1 };
    (0..count)
        .flat_map(|i| {
            let error = (i == 2).then(|| json!({"type": "llm_error"}));
            [
                catalogue::llm_call(&cx, &LlmCall::default()),
                catalogue::llm_response(&cx, &LlmResponse { usage, error, ..LlmResponse::default() }),
                catalogue::tool_invocation(&cx, "c", "search", "sky"),
                catalogue::tool_result(&cx, "c", "search", None, 4),
            ]
        })
        .map(|e| e.at(after(at)))
        .collect()
}

fn answer(request: &TaskRequest, agent: &str, success: bool, at: i64) -> TaskResult {
    let outcome = if success {
        Ok(json!({"response": format!("by {agent}")}))
    } else {
        Err(TaskError { error_type: ErrorType::LlmError, message: "no".to_owned() })
    };
    let mut result = TaskResult::new(request, agent, outcome, 40, Usage::default());
    result.completed_at = after(at);
    result
}

fn end(status: TaskStatus, attempts: i32, result: Option<&TaskResult>, error: Option<ErrorType>, at: i64) -> Event {
    let end = TaskEnd {
        attempts,
        agent_id: Some(agent(attempts)),
        duration_ms: at,
        error_type: error,
        result_hash: result.map(|r| r.result_hash.clone()),
    };
    catalogue::task_ended(task_id(), request().trace_id, status, &end).at(after(at))
}

/// A history that the services could have written, in the order of the log.
pub(crate) fn history(plan: &Plan) -> Vec<StoredEvent> {
    let mut request = request();
    let mut events = vec![catalogue::task_submitted(&request)];
    let mut ended = false;
    for (n, (way, count)) in (1..).zip(&plan.ways) {
        let at = i64::from(n) * 1_000;
        request.attempt = n;
        events.push(catalogue::task_dispatched(&request, &agent(n), &[], after(at)));
        for stranger in 0..plan.strangers {
            let forged = answer(&request, &format!("stranger-{stranger}"), true, at + 5);
            events.push(catalogue::task_result_rejected(&forged, request.trace_id, RejectReason::WrongAgent));
        }
        events.extend(calls(n, *count, at + 10));
        let result = answer(&request, &agent(n), matches!(way, Way::Success | Way::LateSuccess), at + 50);
        let last = n == i32::try_from(plan.ways.len()).unwrap();
        if last && plan.cancelled {
            events.push(end(TaskStatus::Cancelled, n, None, Some(ErrorType::Cancelled), at + 40));
            events.push(catalogue::task_result(&result, true));
            events.push(catalogue::task_result_rejected(&result, request.trace_id, RejectReason::Late));
            break;
        }
        let reason = match way {
            Way::Success => {
                events.push(catalogue::task_result(&result, true));
                events.push(end(TaskStatus::Completed, n, Some(&result), None, at + 60));
                ended = true;
                break;
            }
            Way::Failure => {
                events.push(catalogue::task_result(&result, true));
                ErrorType::LlmError
            }
            Way::Timeout | Way::LateSuccess => ErrorType::Timeout,
            Way::Lost => ErrorType::Unavailable,
        };
        if reason != ErrorType::LlmError {
            events.push(catalogue::task_timeout(&request, n, &agent(n), reason).at(after(at + 45)));
        }
        if *way == Way::LateSuccess {
            events.push(catalogue::task_result(&result, true));
            events.push(end(TaskStatus::Completed, n, Some(&result), None, at + 60));
            ended = true;
            break;
        }
        if last {
            events.push(end(TaskStatus::Failed, n, None, Some(reason), at + 60));
            ended = true;
        } else {
            let mut next = request.clone();
            next.attempt = n + 1;
            events.push(catalogue::task_retry(&next, &agent(n), &agent(n + 1), reason).at(after(at + 70)));
        }
    }
    assert!(ended || plan.cancelled);
    stored(events)
}

/// What must hold after any events whatever.
fn assert_legal(state: &TaskState) {
    let status = state.status;
    assert_eq!(status.is_some_and(TaskStatus::is_final), state.ended_at.is_some(), "{state:#?}");
    assert!(state.result_hash.is_none() || status == Some(TaskStatus::Completed));
    assert!(state.attempts.is_sorted_by(|a, b| a.attempt < b.attempt));
    assert_eq!(state.attempt, state.attempts.last().map_or(0, |a| a.attempt));
    for attempt in &state.attempts {
        assert_eq!(attempt.outcome.is_some(), attempt.ended_at.is_some(), "{attempt:?}");
        assert!(
            attempt.ended_at.is_some() || !status.is_some_and(TaskStatus::is_final),
            "{attempt:?} of an ended task"
        );
    }
    assert!(state.llm.errors <= state.llm.responses && state.tools.errors <= state.tools.results);
}

proptest! {
    #[test]
    fn any_prefix_of_a_history_gives_a_legal_state(plan in plan()) {
        let mut state = TaskState::default();
        let mut settled: Option<TaskState> = None;
        for (n, event) in (1..).zip(&history(&plan)) {
            state.apply(event);
            assert_legal(&state);
            prop_assert_eq!(state.events, n);
            prop_assert!(state.status.is_some(), "the first event tells a status");
            if let Some(end) = &settled {
                prop_assert_eq!((end.status, &end.result_hash, end.ended_at), (state.status, &state.result_hash, state.ended_at));
            } else if state.status.is_some_and(TaskStatus::is_final) {
                settled = Some(state.clone());
            }
        }
        prop_assert!(settled.is_some());
    }

    #[test]
    fn any_order_gives_the_same_state(
        (events, shuffled) in plan().prop_map(|p| history(&p)).prop_flat_map(|e| (Just(e.clone()), Just(e).prop_shuffle())),
    ) {
        let mut state = TaskState::default();
        for event in &shuffled {
            state.apply(event);
            assert_legal(&state);
        }
        prop_assert_eq!(state, TaskState::fold(&events));
    }

    #[test]
    fn duplicates_by_id_or_by_key_change_nothing(plan in plan(), picks in prop::collection::vec((any::<prop::sample::Index>(), any::<bool>()), 0..20)) {
        let events = history(&plan);
        let whole = TaskState::fold(&events);
        let mut state = whole.clone();
        for (pick, by_key) in picks {
            let mut twin = pick.get(&events).clone();
            if by_key && twin.event.idempotency_key.is_some() {
                // The other of two paths: an event of its own with the same key, and a payload that lies.
                twin.event.id = v7(now(), 99_999);
                twin.event.payload = json!({"attempt": 1, "success": true, "resultHash": "forged"});
            }
            state.apply(&twin);
        }
        prop_assert_eq!(state, whole);
    }

    #[test]
    fn payloads_of_any_form_never_panic(kind in prop::sample::select(&catalogue::KNOWN[..]), number in any::<i64>(), text in any::<String>()) {
        for payload in [
            json!(null), json!([number]), json!(text),
            json!({"attempt": number, "targetAgent": text, "usage": {"inputTokens": u64::MAX, "costUsd": number}, "priority": number}),
            json!({"attempt": text, "usage": number, "errorType": text, "success": number, "durationMs": text}),
        ] {
            let event = Event::new(kind, "agent", request().trace_id, payload).of_task(task_id());
            let mut twice = stored(vec![event.clone(), event]);
            twice[1].event.idempotency_key = Some("other".to_owned());
            assert_legal(&TaskState::fold(&twice));
        }
    }
}

fn of(ways: &[(Way, usize)]) -> TaskState {
    TaskState::fold(&history(&Plan { ways: ways.to_vec(), cancelled: false, strangers: 1 }))
}

#[test]
fn e_9_the_reducer_yields_the_final_status() {
    let state = of(&[(Way::Failure, 3), (Way::Timeout, 1), (Way::Success, 2)]);
    assert_eq!(state.status, Some(TaskStatus::Completed));
    assert_eq!((state.attempt, state.agent_id.as_deref()), (3, Some("agent-3")));
    assert_eq!(
        state.attempts.iter().map(|a| (a.outcome.unwrap(), a.duration_ms, a.error_type)).collect::<Vec<_>>(),
        [
            (AttemptOutcome::Failed, Some(40), Some(ErrorType::LlmError)),
            (AttemptOutcome::Timeout, None, Some(ErrorType::Timeout)),
            (AttemptOutcome::Success, Some(40), None),
        ]
    );
    assert_eq!((state.llm.calls, state.llm.responses, state.llm.errors), (6, 6, 1));
    assert_eq!((state.usage.requests, state.usage.input_tokens, state.usage.cost_usd), (6, 600, Some(0.75)));
    assert_eq!((state.tools.calls, state.tools.results, state.rejected_results), (6, 6, 3));
    assert_eq!((state.submitted_at, state.ended_at), (Some(now()), Some(after(3_060))));
    insta::assert_json_snapshot!(state);
}

#[test]
fn a_late_success_turns_its_attempt_into_a_success_only_when_accepted() {
    let state = of(&[(Way::LateSuccess, 0)]);
    assert_eq!((state.status, state.attempts[0].outcome), (Some(TaskStatus::Completed), Some(AttemptOutcome::Success)));

    let plan = Plan { ways: vec![(Way::Success, 0)], cancelled: true, strangers: 0 };
    let state = TaskState::fold(&history(&plan));
    assert_eq!((state.status, state.result_hash), (Some(TaskStatus::Cancelled), None));
    assert_eq!(state.attempts[0].outcome, Some(AttemptOutcome::Cancelled));
}

#[test]
fn events_of_other_tasks_and_of_none_are_ignored() {
    let mut events = history(&Plan { ways: vec![(Way::Success, 1)], cancelled: false, strangers: 0 });
    let whole = TaskState::fold(&events);
    let mut other = events[0].clone();
    other.event.id = v7(now(), 5);
    other.event.idempotency_key = None;
    other.event.task_id = Some(v7(now(), 6));
    let mut none = other.clone();
    none.event.task_id = None;
    events.extend([other, none]);
    assert_eq!(TaskState::fold(&events), whole);
}
