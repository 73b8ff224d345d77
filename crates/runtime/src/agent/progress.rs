//! Progress notes: best effort, in order, never in the way of the work.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use chrono::{DateTime, Utc};
use mesh_six_core::{
    Event, EventSink, TraceId, event::catalogue::TOOL_INVOCATION, id::new_id, names::TASK_PROGRESS, task::TaskProgress,
    time,
};
use mesh_six_sidecar::{Message, Sidecar};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::metrics;

/// Notes that wait to be published, over all tasks of the agent.
const QUEUE: usize = 256;
/// Notes of one task; a handler in a loop must not flood the topic.
const PER_TASK: u32 = 200;
/// The longest details, in bytes of JSON.
const MAX_DETAILS: usize = 8 * 1024;
/// Notes published together: each publish waits until the event logger has written them.
const AT_ONCE: usize = 50;
/// How long that may take.
const PUBLISH: Duration = Duration::from_secs(5);

/// What is published, and what it is a child of.
struct Note {
    progress: TaskProgress,
    at: DateTime<Utc>,
    traceparent: Arc<str>,
}

/// Where the notes of all tasks go in.
#[derive(Clone)]
pub(super) struct Notes(mpsc::Sender<Note>);

/// Where they come out, to be published.
pub(super) struct Publisher {
    notes: mpsc::Receiver<Note>,
    sidecar: Arc<dyn Sidecar>,
}

/// A queue of notes and its publisher.
pub(super) fn notes(sidecar: Arc<dyn Sidecar>) -> (Notes, Publisher) {
    let (sender, notes) = mpsc::channel(QUEUE);
    (Notes(sender), Publisher { notes, sidecar })
}

impl Publisher {
    /// Publishes what is queued, together, until `stop`, and then what is queued already. What cannot be published
    /// is lost and counted.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        loop {
            let mut notes = Vec::new();
            tokio::select! {
                _ = self.notes.recv_many(&mut notes, AT_ONCE) => {}
                () = stop.cancelled(), if !self.notes.is_closed() => {
                    self.notes.close();
                    continue;
                }
            }
            if notes.is_empty() {
                return;
            }
            self.publish(notes).await;
        }
    }

    async fn publish(&self, notes: Vec<Note>) {
        let agents: Vec<String> = notes.iter().map(|note| note.progress.agent_id.clone()).collect();
        let messages = notes.into_iter().map(|note| Message {
            id: new_id().to_string(),
            topic: TASK_PROGRESS.to_owned(),
            time: note.at,
            traceparent: Some(note.traceparent.to_string()),
            data: json!(note.progress),
        });
        let publishing = self.sidecar.publish_bulk(messages.collect());
        let published = tokio::time::timeout(PUBLISH, publishing).await.unwrap_or_default();
        for (i, agent) in agents.iter().enumerate() {
            if !matches!(published.get(i), Some(Ok(()))) {
                metrics::progress_lost(agent);
            }
        }
    }
}

/// The notes of one task.
pub(super) struct Progress {
    notes: Notes,
    task_id: Uuid,
    agent_id: String,
    trace_id: TraceId,
    traceparent: Arc<str>,
    left: AtomicU32,
}

impl Progress {
    /// `traceparent` names the span of the work on the task.
    pub(super) fn new(notes: Notes, task_id: Uuid, agent_id: &str, trace_id: TraceId, traceparent: &str) -> Self {
        let (agent_id, traceparent) = (agent_id.to_owned(), traceparent.into());
        Self { notes, task_id, agent_id, trace_id, traceparent, left: AtomicU32::new(PER_TASK) }
    }

    /// Queues a note; returns at once.
    pub(super) fn send(&self, status: &str, details: Option<Value>) {
        let may = self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok();
        let details = details.map(|details| match details.to_string().len() {
            0..=MAX_DETAILS => details,
            length => json!({"truncated": true, "length": length}),
        });
        let progress = TaskProgress {
            task_id: self.task_id,
            agent_id: self.agent_id.clone(),
            trace_id: self.trace_id,
            status: status.chars().take(64).collect(),
            details,
        };
        let note = Note { progress, at: time::now(), traceparent: self.traceparent.clone() };
        if !may || self.notes.0.try_send(note).is_err() {
            metrics::progress_lost(&self.agent_id);
        }
    }
}

/// A sink that also tells of each tool call as progress.
pub(super) struct ToolNotes {
    sink: Arc<dyn EventSink>,
    progress: Arc<Progress>,
}

impl ToolNotes {
    pub(super) fn new(sink: Arc<dyn EventSink>, progress: Arc<Progress>) -> Self {
        Self { sink, progress }
    }
}

impl EventSink for ToolNotes {
    fn send(&self, event: Event) {
        if event.event_type == TOOL_INVOCATION {
            self.progress.send("tool", Some(json!({"toolName": event.payload["toolName"]})));
        }
        self.sink.send(event);
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test that cannot go on must fail")]

    use super::*;

    #[tokio::test]
    async fn notes_are_bounded_in_number_and_size() {
        let (sender, mut received) = mpsc::channel(1_000);
        let trace = TraceId::new();
        let progress = Progress::new(Notes(sender), new_id(), "a", trace, &trace.to_traceparent());
        progress.send(&"long".repeat(100), Some(json!("x".repeat(MAX_DETAILS))));
        for _ in 0..PER_TASK * 2 {
            progress.send("step", None);
        }
        let first = received.try_recv().unwrap().progress;
        assert_eq!(
            (first.status.len(), first.details),
            (64, Some(json!({"truncated": true, "length": MAX_DETAILS + 2})))
        );
        assert_eq!(received.len(), usize::try_from(PER_TASK).unwrap() - 1);
    }
}
