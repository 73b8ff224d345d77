//! Fixed times, ids and requests, so that tests and snapshots do not change from run to run.

use chrono::{DateTime, Duration, Utc};
use mesh_six_core::{
    Event, StoredEvent, TraceId,
    event::Position,
    task::{Payload, TaskRequest},
};
use serde_json::json;
use uuid::Uuid;

/// 2026-11-23T04:43:04.000001Z.
pub(crate) fn now() -> DateTime<Utc> {
    "2026-11-23T04:43:04.000001Z".parse().unwrap()
}

/// `now` and some milliseconds.
pub(crate) fn after(ms: i64) -> DateTime<Utc> {
    now() + Duration::milliseconds(ms)
}

/// A `UUIDv7` of the given time that ends in `n`.
pub(crate) fn v7(time: DateTime<Utc>, n: u64) -> Uuid {
    let ms = u128::try_from(time.timestamp_millis()).unwrap();
    Uuid::from_u128(ms << 80 | 0x7000 << 64 | 0x8000_0000_0000_0000 | u128::from(n))
}

/// The task of the tests.
pub(crate) fn task_id() -> Uuid {
    v7(now(), 1)
}

/// Its trace.
pub(crate) fn trace_id() -> TraceId {
    TraceId::from_uuid(v7(now(), 2))
}

/// Its request.
pub(crate) fn request() -> TaskRequest {
    TaskRequest {
        id: task_id(),
        capability: "general-query".to_owned(),
        payload: Payload::from_iter([("query".to_owned(), json!("Why is the sky blue?"))]),
        priority: 5,
        timeout: 120,
        requested_by: "orchestrator".to_owned(),
        created_at: now(),
        trace_id: trace_id(),
        attempt: 1,
        user_id: None,
    }
}

/// Events as the log would have them: ids counted up, in the given order.
pub(crate) fn stored(events: Vec<Event>) -> Vec<StoredEvent> {
    (1..)
        .zip(events)
        .map(|(seq, mut event)| {
            event.id = v7(now(), 1_000 + u64::try_from(seq).unwrap());
            StoredEvent { seq, txid: 7, timestamp: now(), position: Position::of(7, seq, now()), event }
        })
        .collect()
}
