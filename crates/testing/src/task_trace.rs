//! What the trace of a task must look like, wherever the mesh runs: all in one process or beside sidecars, which add
//! spans of their own in between.

use crate::{ReceivedSpan, Trace};

/// What a sidecar's spans say that ours do not.
const SIDECAR: &str = "dapr";

/// From the caller to the model and back, each a child of the next one.
const TO_THE_MODEL: [&str; 5] =
    ["invoke_agent {agent}", "process tasks.{agent}", "POST /tasks", "publish tasks.{agent}", "POST /api/v1/tasks"];
const BACK: [&str; 5] =
    ["accept_result", "process task-results", "POST /results", "publish task-results", "invoke_agent {agent}"];

/// A task of one attempt by `agent`, which asked `model`.
#[derive(Clone, Copy, Debug)]
pub struct TaskTrace<'t> {
    /// The agent.
    pub agent: &'t str,
    /// The model that it asked.
    pub model: &'t str,
}

impl TaskTrace<'_> {
    /// Whether everything that is checked has been received.
    pub fn is_whole(self, trace: &Trace) -> bool {
        trace.roots().len() == 1 && self.faults(trace).is_empty()
    }

    /// What is wrong with `trace`.
    pub fn faults(self, trace: &Trace) -> Vec<String> {
        let mut faults = Vec::new();
        let chat = format!("chat {}", self.model);
        let to_the_model: Vec<String> =
            std::iter::once(chat.clone()).chain(TO_THE_MODEL.map(|name| self.named(name))).collect();
        let back: Vec<String> = BACK.map(|name| self.named(name)).into();
        for wanted in [to_the_model, back] {
            let lines: Vec<Vec<&str>> = trace.named(&wanted[0]).into_iter().map(|span| ours(trace, span)).collect();
            if !lines.iter().any(|line| line.starts_with(&wanted.iter().map(String::as_str).collect::<Vec<_>>())) {
                faults.push(format!("no {} below {:?}, but {lines:?}", wanted[0], &wanted[1..]));
            }
        }
        for (name, above) in
            [("publish task-events", "POST /api/v1/tasks"), ("publish task-progress", &self.named(TO_THE_MODEL[0]))]
        {
            let stray = |span: &&&ReceivedSpan| ours(trace, span).get(1) != Some(&above);
            let published = trace.named(name);
            faults.extend(published.iter().find(stray).map(|span| format!("{name} is below {:?}", ours(trace, span))));
            if published.is_empty() {
                faults.push(format!("no {name}"));
            }
        }
        faults
    }

    fn named(self, name: &str) -> String {
        name.replace("{agent}", self.agent)
    }
}

/// The names of our own spans from `span` up.
fn ours<'t>(trace: &'t Trace, span: &'t ReceivedSpan) -> Vec<&'t str> {
    let line = trace.line(span).into_iter();
    line.filter(|span| !is_of_sidecar(span)).map(|span| span.name.as_str()).collect()
}

/// Whether a sidecar sent the span.
pub fn is_of_sidecar(span: &ReceivedSpan) -> bool {
    span.attributes.keys().chain(span.resource.keys()).any(|name| name.starts_with(SIDECAR))
        || !span.resource.contains_key("service.version")
}
