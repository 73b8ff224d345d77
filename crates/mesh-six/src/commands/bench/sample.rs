//! The events that are written: of the size and form of a model's answer.

use mesh_six_core::{Event, TraceId, id::new_id};
use serde_json::json;

/// An event of a task of its own, with a payload of about 300 bytes.
pub(super) fn event(keyed: bool) -> Event {
    let task = new_id();
    let payload = json!({
        "requestId": task,
        "model": "bench-model",
        "finishReason": "stop",
        "latencyMs": 812,
        "inputTokens": 1_024,
        "outputTokens": 256,
        "costUsd": 0.0042,
        "summary": "An answer of about the length that one sentence has, kept here so that the payload is as long as \
            those of real events of this kind are.",
    });
    let event = Event::new("llm.response", "bench-agent", TraceId::new(), payload).of_task(task);
    if keyed { event.keyed(format!("result:{task}:1")) } else { event }
}
