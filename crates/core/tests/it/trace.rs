//! Trace ids and `traceparent`.

use mesh_six_core::{TraceId, id::v7_time};
use proptest::prelude::*;
use uuid::Uuid;

proptest! {
    #[test]
    fn text_json_and_traceparent_round_trip(bits in 1..=u128::MAX) {
        let trace = TraceId::from_uuid(Uuid::from_u128(bits));
        let text = trace.to_string();
        prop_assert_eq!(text.len(), 32);
        prop_assert_eq!(text.parse::<TraceId>().unwrap(), trace);
        prop_assert_eq!(trace.as_uuid().to_string().parse::<TraceId>().unwrap(), trace);
        prop_assert_eq!(serde_json::to_string(&trace).unwrap(), format!("\"{text}\""));
        prop_assert_eq!(TraceId::from_traceparent(&trace.to_traceparent()), Some(trace));
    }

    #[test]
    fn any_header_is_refused_or_whole(header in ".{0,70}|[0-9a-f]{2}-[0-9a-fA-F]{31,33}-[0-9a-f]{16}-[0-9a-f]{2}(-x)?") {
        if let Some(trace) = TraceId::from_traceparent(&header) {
            prop_assert_eq!(&header[3..35], trace.to_string());
        }
    }
}

#[test]
fn ours_begin_with_the_time_and_differ() {
    let (a, b) = (TraceId::new(), TraceId::new());
    assert_ne!(a, b);
    assert!(v7_time(a.as_uuid()).is_some());
    assert_ne!(a.to_traceparent(), a.to_traceparent(), "each with a span of its own");
}

#[test]
fn a_later_version_may_say_more_and_ours_may_not() {
    let rest = "4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    assert!(TraceId::from_traceparent(&format!("01-{rest}-more")).is_some());
    assert!(TraceId::from_traceparent(&format!("00-{rest}")).is_some());
    assert!(TraceId::from_traceparent(&format!("00-{rest}-more")).is_none());
}

#[test]
fn malformed_trace_ids_are_refused_by_name() {
    for bad in
        ["", "0", &"0".repeat(32), &"g".repeat(32), &"a".repeat(31), "urn:uuid:67e55044-10b1-426f-9247-bb680e5fe0c8"]
    {
        assert_eq!(bad.parse::<TraceId>().unwrap_err().field.as_deref(), Some("traceId"), "{bad}");
    }
}
