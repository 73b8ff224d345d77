//! What the orchestrator counts.

use ::metrics::{counter, gauge, histogram};
use mesh_six_core::{
    agent::{AgentRegistration, AgentStatus},
    metric::{BoundedLabel, Metric},
};
use mesh_six_db::{
    outbox::Backlog,
    tasks::{Change, Verdict},
};

const SUBMITTED: Metric =
    Metric::counter("mesh_six_tasks_submitted_total", &["capability"], "Tasks accepted, by capability");
const ENDED: Metric = Metric::counter(
    "mesh_six_tasks_total",
    &["capability", "outcome"],
    "Tasks that ended, by capability and outcome: completed, failed or cancelled",
);
const ATTEMPTS: Metric = Metric::counter(
    "mesh_six_attempts_total",
    &["capability", "outcome"],
    "Attempts that ended, by capability and outcome: success, failed, timeout, unavailable or cancelled",
);
const REFUSED: Metric =
    Metric::counter("mesh_six_tasks_refused_total", &[], "Tasks not accepted because no agent could take them");
const RESULTS: Metric = Metric::counter(
    "mesh_six_task_results_total",
    &["verdict"],
    "Results looked at, by verdict: accepted, duplicate, unknown_task, or why it was rejected",
);
const OPEN: Metric = Metric::gauge("mesh_six_tasks_open", &[], "Tasks that have not ended");
const WAITING: Metric =
    Metric::gauge("mesh_six_outbox_waiting", &[], "Messages in the outbox that are not published yet");
const OLDEST: Metric = Metric::gauge(
    "mesh_six_outbox_oldest_age_seconds",
    &[],
    "Age of the oldest message in the outbox that is not published yet",
);
const PUBLISHED: Metric = Metric::counter(
    "mesh_six_outbox_published_total",
    &["outcome"],
    "Publishes from the outbox, by outcome: sent, retried or refused",
);
const RESENT: Metric =
    Metric::counter("mesh_six_outbox_resent_total", &[], "Requests sent again because they had not arrived");
const ROUTING: Metric = Metric::histogram("mesh_six_routing_seconds", &[], "Time to score the agents for a task");
const AGENTS: Metric =
    Metric::gauge("mesh_six_agents", &["status"], "Agents in the registry, by status: online, degraded or offline");

/// All of them.
pub const METRICS: [Metric; 12] =
    [SUBMITTED, ENDED, ATTEMPTS, REFUSED, RESULTS, OPEN, WAITING, OLDEST, PUBLISHED, RESENT, ROUTING, AGENTS];

/// Only what an agent can do is accepted, but agents come and go under any name.
static CAPABILITIES: BoundedLabel = BoundedLabel::new(200);

pub(crate) fn submitted(capability: &str) {
    counter!(SUBMITTED.name, "capability" => CAPABILITIES.of(capability)).increment(1);
}

/// No agent: without the capability as label, since callers may invent them.
pub(crate) fn refused() {
    counter!(REFUSED.name).increment(1);
}

pub(crate) fn changed(change: &Change) {
    if let Some(outcome) = change.outcome {
        let labels = [("capability", CAPABILITIES.of(&change.capability)), ("outcome", outcome.as_str().to_owned())];
        counter!(ATTEMPTS.name, &labels).increment(1);
    }
    let outcome = match change.verdict {
        Verdict::Completed => "completed",
        Verdict::Failed => "failed",
        Verdict::Cancelled => "cancelled",
        _ => return,
    };
    counter!(ENDED.name, "capability" => CAPABILITIES.of(&change.capability), "outcome" => outcome).increment(1);
}

/// Counts a result that was looked at and gives the verdict's name.
pub(crate) fn result(verdict: Verdict) -> &'static str {
    let verdict = match verdict {
        Verdict::Completed | Verdict::Failed | Verdict::Cancelled | Verdict::Retry => "accepted",
        Verdict::Rejected(reason) => reason.as_str(),
        Verdict::Unchanged => "duplicate",
        Verdict::Unknown => "unknown_task",
    };
    counter!(RESULTS.name, "verdict" => verdict).increment(1);
    verdict
}

pub(crate) fn published(outcome: &'static str) {
    counter!(PUBLISHED.name, "outcome" => outcome).increment(1);
}

pub(crate) fn resent(count: usize) {
    counter!(RESENT.name).increment(u64::try_from(count).unwrap_or(u64::MAX));
}

pub(crate) fn routed(took: std::time::Duration) {
    histogram!(ROUTING.name).record(took);
}

#[expect(clippy::cast_precision_loss, reason = "gauges are floating point; counts of rows are far below 2^53")]
pub(crate) fn standing(open: i64, backlog: Backlog) {
    gauge!(OPEN.name).set(open as f64);
    gauge!(WAITING.name).set(backlog.waiting as f64);
    gauge!(OLDEST.name).set(backlog.oldest_seconds);
}

/// So many agents have each status now.
#[expect(clippy::cast_precision_loss, reason = "there are few agents")]
pub(crate) fn agents(known: &[AgentRegistration]) {
    let named =
        [(AgentStatus::Online, "online"), (AgentStatus::Degraded, "degraded"), (AgentStatus::Offline, "offline")];
    for (status, name) in named {
        let count = known.iter().filter(|agent| agent.status == status).count();
        gauge!(AGENTS.name, "status" => name).set(count as f64);
    }
}
