//! What the orchestrator counts.

use ::metrics::{counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};
use mesh_six_db::{
    outbox::Backlog,
    tasks::{Change, Verdict},
};

const SUBMITTED: &str = "mesh_six_tasks_submitted_total";
const ENDED: &str = "mesh_six_tasks_total";
const ATTEMPTS: &str = "mesh_six_attempts_total";
const REFUSED: &str = "mesh_six_tasks_refused_total";
const RESULTS: &str = "mesh_six_task_results_total";
const OPEN: &str = "mesh_six_tasks_open";
const WAITING: &str = "mesh_six_outbox_waiting";
const OLDEST: &str = "mesh_six_outbox_oldest_age_seconds";
const PUBLISHED: &str = "mesh_six_outbox_published_total";
const RESENT: &str = "mesh_six_outbox_resent_total";
const ROUTING: &str = "mesh_six_routing_seconds";

/// Says what is counted.
pub(crate) fn describe() {
    mesh_six_runtime::metrics::handle();
    describe_counter!(SUBMITTED, "Tasks accepted, by capability");
    describe_counter!(ENDED, "Tasks that ended, by capability and outcome");
    describe_counter!(ATTEMPTS, "Attempts that ended, by capability and outcome");
    describe_counter!(REFUSED, "Tasks not accepted because no agent could take them");
    describe_counter!(RESULTS, "Results looked at, by verdict");
    describe_gauge!(OPEN, "Tasks that have not ended");
    describe_gauge!(WAITING, "Messages in the outbox that are not published yet");
    describe_gauge!(OLDEST, "Age of the oldest of them");
    describe_counter!(PUBLISHED, "Publishes from the outbox, by outcome");
    describe_counter!(RESENT, "Requests sent again because they had not arrived");
    describe_histogram!(ROUTING, "Time to score the agents for a task");
}

pub(crate) fn submitted(capability: &str) {
    counter!(SUBMITTED, "capability" => capability.to_owned()).increment(1);
}

/// No agent: without the capability as label, since callers may invent them.
pub(crate) fn refused() {
    counter!(REFUSED).increment(1);
}

pub(crate) fn changed(change: &Change) {
    if let Some(outcome) = change.outcome {
        let labels = [("capability", change.capability.clone()), ("outcome", outcome.as_str().to_owned())];
        counter!(ATTEMPTS, &labels).increment(1);
    }
    let outcome = match change.verdict {
        Verdict::Completed => "completed",
        Verdict::Failed => "failed",
        Verdict::Cancelled => "cancelled",
        _ => return,
    };
    counter!(ENDED, "capability" => change.capability.clone(), "outcome" => outcome).increment(1);
}

pub(crate) fn result(verdict: Verdict) {
    let verdict = match verdict {
        Verdict::Completed | Verdict::Failed | Verdict::Cancelled | Verdict::Retry => "accepted",
        Verdict::Rejected(reason) => reason.as_str(),
        Verdict::Unchanged => "duplicate",
        Verdict::Unknown => "unknown_task",
    };
    counter!(RESULTS, "verdict" => verdict).increment(1);
}

pub(crate) fn published(outcome: &'static str) {
    counter!(PUBLISHED, "outcome" => outcome).increment(1);
}

pub(crate) fn resent(count: usize) {
    counter!(RESENT).increment(u64::try_from(count).unwrap_or(u64::MAX));
}

pub(crate) fn routed(took: std::time::Duration) {
    histogram!(ROUTING).record(took);
}

#[expect(clippy::cast_precision_loss, reason = "gauges are floating point; counts of rows are far below 2^53")]
pub(crate) fn standing(open: i64, backlog: Backlog) {
    gauge!(OPEN).set(open as f64);
    gauge!(WAITING).set(backlog.waiting as f64);
    gauge!(OLDEST).set(backlog.oldest_seconds);
}
