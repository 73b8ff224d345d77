//! A story's events as spans on one axis of time: tasks, their attempts, model requests and tool calls. One pure
//! function; what draws them only draws.

mod calls;

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use self::calls::{Call, calls};
use super::{
    StoredEvent,
    replay::{AttemptState, TaskState},
};
use crate::{
    Usage,
    task::{AttemptOutcome, TaskStatus},
    time,
};

/// What a span is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SpanKind {
    /// A task, from its acceptance to its end.
    Task,
    /// An attempt, from its dispatch to its answer.
    Attempt,
    /// One real model request.
    Model,
    /// A call of a tool.
    Tool,
}

/// How a span ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SpanState {
    /// It has not, as far as the log tells.
    Open,
    /// Well.
    Ok,
    /// With an error, or without an answer.
    Failed,
    /// Because its task was cancelled.
    Cancelled,
}

/// A span. Times are those of whoever reported them, so clocks that differ show.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Span {
    /// Its place in the list, from 0.
    pub span: usize,
    /// The place of the span that it is part of, always before its own; absent for the outermost.
    pub parent: Option<usize>,
    /// What it is of.
    pub kind: SpanKind,
    /// Capability, attempt, model or tool.
    pub name: String,
    /// The task.
    pub task_id: Option<Uuid>,
    /// Who did it; of a task, who answered last.
    pub agent_id: Option<String>,
    /// When it began.
    #[serde(with = "time::micros")]
    pub started_at: DateTime<Utc>,
    /// When it ended; absent while it has not.
    #[serde(with = "time::micros_option", default)]
    pub ended_at: Option<DateTime<Utc>>,
    /// Milliseconds from the beginning of the first span to its own.
    pub offset_ms: i64,
    /// How long it took, in milliseconds.
    pub duration_ms: Option<i64>,
    /// Of an attempt: milliseconds before the agent began to work on it.
    pub waited_ms: Option<i64>,
    /// How it ended.
    pub state: SpanState,
    /// Why it failed.
    pub error: Option<String>,
    /// Tokens and cost of the model requests in it.
    pub usage: Option<Usage>,
}

/// The spans of `events`, each after the one that it is part of and otherwise in the order of their beginnings.
/// The order of the events does not matter, and duplicates do not count.
pub fn spans(events: &[StoredEvent]) -> Vec<Span> {
    let mut events: Vec<&StoredEvent> = events.iter().collect();
    events.sort_by_key(|e| (e.event.occurred_at, e.position));
    let mut tasks: BTreeMap<Option<Uuid>, Vec<&StoredEvent>> = BTreeMap::new();
    for event in events {
        tasks.entry(event.event.task_id).or_default().push(event);
    }
    let mut stories: Vec<Vec<Span>> = tasks.into_iter().filter_map(|(task, events)| story(task, &events)).collect();
    stories.sort_by_key(|story| story.first().map(|span| (span.started_at, span.task_id)));
    let origin = stories.iter().flatten().map(|span| span.started_at).min();
    let mut all = Vec::new();
    for story in stories {
        let before = all.len();
        for mut span in story {
            span.span += before;
            span.parent = span.parent.map(|parent| parent + before);
            span.offset_ms = origin.map_or(0, |origin| (span.started_at - origin).num_milliseconds());
            all.push(span);
        }
    }
    all
}

/// The spans of one task, or of what belongs to none; `None` where the events tell of no span.
fn story(task: Option<Uuid>, events: &[&StoredEvent]) -> Option<Vec<Span>> {
    let state = TaskState::fold(events.iter().copied());
    let mut spans = Vec::new();
    let mut attempts = Vec::new();
    if state.status.is_some() || !state.attempts.is_empty() {
        spans.push(of_task(&state, events.first()?.event.occurred_at));
        for attempt in &state.attempts {
            attempts.push(of_attempt(&state, attempt, spans[0].started_at));
        }
    }
    let whole = !spans.is_empty();
    let mut inside: Vec<Vec<Call>> = attempts.iter().map(|_| Vec::new()).collect();
    let mut outside = Vec::new();
    for call in calls(events) {
        match attempt_of(&call, &attempts) {
            Some(place) => inside[place].push(call),
            None => outside.push(call),
        }
    }
    for (mut attempt, calls) in attempts.into_iter().zip(inside) {
        attempt.usage = sum(&calls);
        let parent = add(&mut spans, whole.then_some(0), attempt);
        for call in calls {
            let span = call.into_span(task, spans.get(parent));
            add(&mut spans, Some(parent), span);
        }
    }
    for call in outside {
        let span = call.into_span(task, spans.first().filter(|_| whole));
        add(&mut spans, whole.then_some(0), span);
    }
    if let (true, Some(first)) = (whole, spans.first_mut()) {
        first.usage = Some(state.usage).filter(|usage| *usage != Usage::default());
    }
    (!spans.is_empty()).then_some(spans)
}

/// Adds a span and gives its place.
fn add(spans: &mut Vec<Span>, parent: Option<usize>, span: Span) -> usize {
    let place = spans.len();
    spans.push(Span { span: place, parent, ..span });
    place
}

fn sum(calls: &[Call]) -> Option<Usage> {
    let mut total = None;
    for usage in calls.iter().filter_map(|call| call.usage) {
        *total.get_or_insert_with(Usage::default) += usage;
    }
    total
}

/// Milliseconds between two times; none where the clocks have it the other way round.
fn millis(from: DateTime<Utc>, to: DateTime<Utc>) -> i64 {
    (to - from).num_milliseconds().max(0)
}

fn of_task(state: &TaskState, first: DateTime<Utc>) -> Span {
    let started_at = state.submitted_at.unwrap_or(first);
    let told = state.duration_ms.filter(|ms| *ms >= 0);
    let (end, error) = match state.status {
        Some(TaskStatus::Completed) => (SpanState::Ok, None),
        Some(TaskStatus::Cancelled) => (SpanState::Cancelled, None),
        Some(TaskStatus::Failed) => (SpanState::Failed, state.error_type.map(|e| e.as_str().to_owned())),
        _ => (SpanState::Open, None),
    };
    Span {
        span: 0,
        parent: None,
        kind: SpanKind::Task,
        name: state.capability.clone().unwrap_or_else(|| "task".to_owned()),
        task_id: state.task_id,
        agent_id: state.agent_id.clone(),
        started_at,
        ended_at: state.ended_at,
        offset_ms: 0,
        duration_ms: state.ended_at.map(|end| told.unwrap_or_else(|| millis(started_at, end))),
        waited_ms: None,
        state: end,
        error,
        usage: None,
    }
}

fn of_attempt(state: &TaskState, attempt: &AttemptState, task_began: DateTime<Utc>) -> Span {
    let worked = attempt.duration_ms.filter(|ms| *ms >= 0);
    let before_end = |end: DateTime<Utc>| {
        let worked = chrono::Duration::try_milliseconds(worked.unwrap_or(0));
        worked.and_then(|worked| end.checked_sub_signed(worked)).unwrap_or(end)
    };
    // Without its dispatch an attempt is known by how it ended.
    let started_at = attempt.started_at.or(attempt.ended_at.map(before_end)).unwrap_or(task_began);
    let duration_ms = attempt.ended_at.map(|end| millis(started_at, end));
    let end = match attempt.outcome {
        None => SpanState::Open,
        Some(AttemptOutcome::Success) => SpanState::Ok,
        Some(AttemptOutcome::Cancelled) => SpanState::Cancelled,
        Some(_) => SpanState::Failed,
    };
    let error = attempt.error_type.map(|e| e.as_str().to_owned());
    Span {
        span: 0,
        parent: None,
        kind: SpanKind::Attempt,
        name: format!("attempt {}", attempt.attempt),
        task_id: state.task_id,
        agent_id: attempt.agent_id.clone(),
        started_at,
        ended_at: attempt.ended_at,
        offset_ms: 0,
        duration_ms,
        waited_ms: duration_ms.zip(worked).map(|(whole, worked)| (whole - worked).max(0)),
        state: end,
        error,
        usage: None,
    }
}

/// The attempt that a call was made in: the newest of its agent that had begun, else the first of its agent, since
/// clocks differ a little. The log does not name it.
fn attempt_of(call: &Call, attempts: &[Span]) -> Option<usize> {
    let own = |span: &&Span| span.agent_id.as_deref() == Some(&call.agent_id);
    let begun = attempts.iter().filter(own).rfind(|span| span.started_at <= call.started_at);
    let span = begun.or_else(|| attempts.iter().find(own))?;
    attempts.iter().position(|other| std::ptr::eq(other, span))
}
