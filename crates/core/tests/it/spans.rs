//! Spans: what they are parts of, and that neither order nor duplicates nor odd payloads matter.

use mesh_six_core::{
    Event, StoredEvent,
    event::{
        catalogue::{self, CallContext, LlmCall, LlmResponse},
        replay::TaskState,
        spans::{Span, SpanKind, SpanState, spans},
    },
};
use proptest::prelude::*;
use serde_json::json;
use uuid::Uuid;

use crate::{
    replay::{Plan, Way, history, plan},
    support::{after, request, stored, task_id, v7},
};

/// What must hold of any spans whatever.
fn assert_legal(spans: &[Span]) {
    for (place, span) in spans.iter().enumerate() {
        assert_eq!(span.span, place);
        assert!(span.offset_ms >= 0 && span.duration_ms.is_none_or(|ms| ms >= 0), "{span:?}");
        assert!(span.waited_ms.is_none_or(|ms| ms >= 0), "{span:?}");
        assert_eq!(span.ended_at.is_none(), span.state == SpanState::Open, "{span:?}");
        assert_eq!(span.duration_ms.is_none(), span.state == SpanState::Open, "{span:?}");
        match (span.kind, span.parent.map(|parent| &spans[parent])) {
            (SpanKind::Task, above) => assert!(above.is_none(), "{span:?}"),
            (_, None) => assert_ne!(span.kind, SpanKind::Attempt, "{span:?}"),
            (kind, Some(above)) => {
                assert!(above.span < place && above.task_id == span.task_id, "{span:?}");
                let fits = above.kind == SpanKind::Task || (above.kind == SpanKind::Attempt && kind != above.kind);
                assert!(fits, "{span:?} in {above:?}");
            }
        }
    }
    assert!(spans.first().is_none_or(|first| spans.iter().any(|span| span.offset_ms == 0) && first.parent.is_none()));
}

fn count(spans: &[Span], kind: SpanKind) -> usize {
    spans.iter().filter(|span| span.kind == kind).count()
}

proptest! {
    #[test]
    fn any_order_and_any_duplicates_give_the_same_spans(
        (events, shuffled) in plan().prop_map(|p| history(&p)).prop_flat_map(|e| (Just(e.clone()), Just(e).prop_shuffle())),
        picks in prop::collection::vec(any::<prop::sample::Index>(), 0..10),
    ) {
        let whole = spans(&events);
        assert_legal(&whole);
        let mut shuffled = shuffled;
        let twins: Vec<StoredEvent> = picks.iter().map(|pick| pick.get(&events).clone()).collect();
        shuffled.extend(twins);
        prop_assert_eq!(spans(&shuffled), whole);
    }

    #[test]
    fn each_task_attempt_and_call_of_a_prefix_is_one_span(plan in plan(), cut in any::<prop::sample::Index>()) {
        let events = history(&plan);
        let events = &events[..=cut.index(events.len())];
        let (spans, state) = (spans(events), TaskState::fold(events));
        assert_legal(&spans);
        prop_assert_eq!(count(&spans, SpanKind::Task), 1);
        prop_assert_eq!(count(&spans, SpanKind::Attempt), state.attempts.len());
        prop_assert_eq!(count(&spans, SpanKind::Model) as u64, state.llm.calls);
        prop_assert_eq!(count(&spans, SpanKind::Tool) as u64, state.tools.calls);
        prop_assert_eq!(spans[0].ended_at, state.ended_at);
        prop_assert_eq!(spans[0].usage.unwrap_or_default(), state.usage);
    }

    #[test]
    fn payloads_of_any_form_never_panic(
        kinds in prop::collection::vec(prop::sample::select(&catalogue::KNOWN[..]), 1..6), number in any::<i64>(), text in any::<String>(),
    ) {
        for payload in [
            json!(null), json!([number]), json!(text),
            json!({"attempt": 1, "targetAgent": "agent", "durationMs": number, "callId": text, "error": number, "model": text}),
            json!({"attempt": number, "durationMs": text, "callId": number, "error": {"type": number, "message": text}}),
        ] {
            let events = kinds.iter().map(|kind| Event::new(kind, "agent", request().trace_id, payload.clone()));
            let mixed = events.enumerate().map(|(n, event)| if n % 2 == 0 { event.of_task(task_id()) } else { event });
            assert_legal(&spans(&stored(mixed.collect())));
        }
    }
}

fn of(ways: &[(Way, usize)], cancelled: bool) -> Vec<Span> {
    spans(&history(&Plan { ways: ways.to_vec(), cancelled, strangers: 1 }))
}

#[test]
fn calls_belong_to_the_attempt_of_their_agent() {
    let spans = of(&[(Way::Failure, 3), (Way::Timeout, 1), (Way::Success, 2)], false);
    let inside = |n: usize| {
        let attempt = spans.iter().filter(|span| span.kind == SpanKind::Attempt).nth(n).unwrap();
        let calls = spans.iter().filter(|span| span.parent == Some(attempt.span));
        (attempt.state, attempt.usage.map(|usage| usage.requests), calls.count())
    };
    let (failed, ok) = (SpanState::Failed, SpanState::Ok);
    assert_eq!([0, 1, 2].map(inside), [(failed, Some(3), 6), (failed, Some(1), 2), (ok, Some(2), 4)]);
    insta::assert_json_snapshot!(spans);
}

#[test]
fn a_cancelled_task_ends_its_attempt_and_the_calls_without_an_answer() {
    let mut events = history(&Plan { ways: vec![(Way::Success, 1)], cancelled: true, strangers: 0 });
    events.retain(|event| event.event.event_type != catalogue::LLM_RESPONSE);
    let spans = spans(&events);
    let told: Vec<_> = spans.iter().map(|span| (span.kind, span.state, span.ended_at)).collect();
    let end = Some(after(1_040));
    assert_eq!(told[0], (SpanKind::Task, SpanState::Cancelled, end));
    assert_eq!(told[1], (SpanKind::Attempt, SpanState::Cancelled, end));
    let call = spans.iter().find(|span| span.kind == SpanKind::Model).unwrap();
    assert_eq!((call.state, call.ended_at), (SpanState::Cancelled, end));
}

#[test]
fn an_agent_that_is_asked_twice_has_each_call_in_its_own_attempt() {
    let mut request = request();
    let cx = CallContext { trace_id: request.trace_id, agent_id: "a".to_owned(), task_id: Some(task_id()) };
    let call = |n: u128, at: i64| {
        let call_id = Uuid::from_u128(n);
        let response = LlmResponse { call_id, duration_ms: 30, ..LlmResponse::default() };
        [
            catalogue::llm_call(&cx, &LlmCall { call_id, ..LlmCall::default() }).at(after(at)),
            catalogue::llm_response(&cx, &response).at(after(at + 30)),
        ]
    };
    let mut events = vec![catalogue::task_submitted(&request)];
    events.push(catalogue::task_dispatched(&request, "a", &[], after(10)));
    // Its clock is behind.
    events.extend(call(1, 5));
    events.push(catalogue::task_timeout(&request, 1, "a", mesh_six_core::ErrorType::Unavailable).at(after(100)));
    request.attempt = 2;
    events.push(catalogue::task_dispatched(&request, "a", &[], after(200)));
    events.extend(call(2, 210));
    // The beginning of the third is not on the record.
    events.extend(call(3, 260).into_iter().skip(1));
    let spans = spans(&stored(events));
    assert_legal(&spans);
    let models: Vec<_> = spans
        .iter()
        .filter(|span| span.kind == SpanKind::Model)
        .map(|span| (spans[span.parent.unwrap()].name.as_str(), span.started_at))
        .collect();
    assert_eq!(models, [("attempt 1", after(5)), ("attempt 2", after(210)), ("attempt 2", after(260))]);
}

#[test]
fn a_trace_with_two_tasks_and_calls_of_none_is_one_axis() {
    let one = history(&Plan { ways: vec![(Way::Success, 1)], cancelled: false, strangers: 0 });
    let mut all = one.clone();
    for mut event in one {
        event.event.task_id = Some(v7(after(0), 77));
        event.event.id = Uuid::from_u128(event.event.id.as_u128() ^ 1 << 70);
        event.event.idempotency_key = event.event.idempotency_key.map(|key| format!("{key} of the other"));
        event.event.occurred_at += chrono::Duration::milliseconds(5_000);
        all.push(event);
    }
    let cx = CallContext { trace_id: request().trace_id, agent_id: "a".to_owned(), task_id: None };
    all.extend(stored(vec![catalogue::llm_call(&cx, &LlmCall::default()).at(after(2_000))]));
    let spans = spans(&all);
    assert_legal(&spans);
    let roots: Vec<_> = spans.iter().filter(|span| span.parent.is_none()).map(|s| (s.kind, s.offset_ms)).collect();
    assert_eq!(roots, [(SpanKind::Task, 0), (SpanKind::Model, 2_000), (SpanKind::Task, 5_000)]);
    assert_eq!(spans.iter().filter(|span| span.kind == SpanKind::Attempt).count(), 2);
}
