//! Model requests and tool calls: two events each, joined by the call's id.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use chrono::{DateTime, Duration, Utc};
use serde_json::Value;
use uuid::Uuid;

use super::{Span, SpanKind, SpanState, millis};
use crate::{
    Event, StoredEvent, Usage,
    event::{catalogue, read},
    text::shortened,
};

/// The longest error that a span tells, in bytes.
const MAX_ERROR: usize = 300;

/// A call, with whatever of its two events is known.
#[derive(Clone, Debug)]
pub(super) struct Call {
    kind: SpanKind,
    name: Option<String>,
    pub(super) agent_id: String,
    pub(super) started_at: DateTime<Utc>,
    end: Option<End>,
    pub(super) usage: Option<Usage>,
}

#[derive(Clone, Debug)]
struct End {
    at: DateTime<Utc>,
    duration_ms: i64,
    error: Option<String>,
}

/// The calls that `events` tell of, in the order of their beginnings. The events are in order; ids of tool calls come
/// from models and may be used again, so the first beginning goes with the first end.
pub(super) fn calls(events: &[&StoredEvent]) -> Vec<Call> {
    let mut calls: Vec<Call> = Vec::new();
    let mut open: BTreeMap<(String, String), VecDeque<usize>> = BTreeMap::new();
    let mut seen = BTreeSet::new();
    for StoredEvent { event, .. } in events {
        let kind = match event.event_type.as_str() {
            catalogue::LLM_CALL | catalogue::LLM_RESPONSE => SpanKind::Model,
            catalogue::TOOL_INVOCATION | catalogue::TOOL_RESULT => SpanKind::Tool,
            _ => continue,
        };
        if !seen.insert(event.id) {
            continue;
        }
        let name = read::text(event, if kind == SpanKind::Model { "model" } else { "toolName" });
        let begins = [catalogue::LLM_CALL, catalogue::TOOL_INVOCATION].contains(&event.event_type.as_str());
        let key = (event.agent_id.clone(), format!("{kind:?} {}", read::text(event, "callId").unwrap_or_default()));
        if begins {
            open.entry(key).or_default().push_back(calls.len());
            calls.push(Call::begun(kind, name, event));
            continue;
        }
        let end = End::of(event);
        let usage = (kind == SpanKind::Model).then(|| read::usage(event));
        let begun = open.get_mut(&key).and_then(VecDeque::pop_front).and_then(|place| calls.get_mut(place));
        if let Some(call) = begun {
            // The model that answered, where it says so.
            call.name = name.or_else(|| call.name.take());
            call.end = Some(end);
            call.usage = usage;
        } else {
            let begun = Duration::try_milliseconds(end.duration_ms).and_then(|d| end.at.checked_sub_signed(d));
            let started_at = begun.unwrap_or(end.at);
            calls.push(Call { started_at, end: Some(end), usage, ..Call::begun(kind, name, event) });
        }
    }
    calls.sort_by_key(|call| call.started_at);
    calls
}

impl Call {
    fn begun(kind: SpanKind, name: Option<String>, event: &Event) -> Self {
        let agent_id = event.agent_id.clone();
        Self { kind, name, agent_id, started_at: event.occurred_at, end: None, usage: None }
    }

    /// The call as a span in `above`. If that has ended, a call without an answer is not under way any more either.
    pub(super) fn into_span(self, task_id: Option<Uuid>, above: Option<&Span>) -> Span {
        let ended = above.and_then(|above| above.ended_at);
        let (ended_at, duration_ms, state, error) = match (self.end, ended) {
            (Some(end), _) => {
                let state = if end.error.is_some() { SpanState::Failed } else { SpanState::Ok };
                (Some(end.at), Some(end.duration_ms), state, end.error)
            }
            (None, Some(ended)) => {
                let end = ended.max(self.started_at);
                let lasted = millis(self.started_at, end);
                let (state, error) = match above.map(|above| above.state) {
                    Some(SpanState::Cancelled) => (SpanState::Cancelled, None),
                    _ => (SpanState::Failed, Some("no answer on the record".to_owned())),
                };
                (Some(end), Some(lasted), state, error)
            }
            (None, None) => (None, None, SpanState::Open, None),
        };
        let unnamed = if self.kind == SpanKind::Model { "model" } else { "tool" };
        Span {
            span: 0,
            parent: None,
            kind: self.kind,
            name: self.name.unwrap_or_else(|| unnamed.to_owned()),
            task_id,
            agent_id: Some(self.agent_id),
            started_at: self.started_at,
            ended_at,
            offset_ms: 0,
            duration_ms,
            waited_ms: None,
            state,
            error,
            usage: self.usage,
        }
    }
}

impl End {
    fn of(event: &Event) -> Self {
        let duration_ms = read::integer(event, "durationMs").unwrap_or(0).max(0);
        Self { at: event.occurred_at, duration_ms, error: error(event) }
    }
}

/// Why a call failed, if it did.
fn error(event: &Event) -> Option<String> {
    let told = match event.payload.get("error") {
        None | Some(Value::Null) => None,
        Some(Value::String(text)) => Some(text.clone()),
        Some(error) => {
            let part = |name: &str| error.get(name).and_then(Value::as_str);
            let parts: Vec<&str> = ["type", "message"].into_iter().filter_map(part).collect();
            Some(if parts.is_empty() { error.to_string() } else { parts.join(": ") })
        }
    };
    let failed =
        read::flag(event, "success") == Some(false) || read::text(event, "finishReason").as_deref() == Some("error");
    let told = told.or_else(|| failed.then(|| "failed".to_owned()))?;
    Some(shortened(&told, MAX_ERROR))
}
