//! What an agent counts.

use ::metrics::{Gauge, counter, gauge, histogram};
use mesh_six_core::{
    metric::{Metric, OTHER},
    task::TaskResult,
};

const TASKS: Metric = Metric::counter(
    "mesh_six_agent_tasks_total",
    &["agent", "capability", "outcome"],
    "Requests that an agent ended, by outcome: success, or the error's type; capability other is one that it has not",
);
const SECONDS: Metric =
    Metric::histogram("mesh_six_agent_task_duration_seconds", &["agent"], "How long agents worked on requests");
const IN_FLIGHT: Metric =
    Metric::gauge("mesh_six_agent_tasks_in_flight", &["agent"], "Requests that an agent is working on");
const QUEUED: Metric =
    Metric::gauge("mesh_six_agent_tasks_queued", &["agent"], "Requests that wait in an agent's inbox");
const DELIVERIES: Metric = Metric::counter(
    "mesh_six_agent_deliveries_total",
    &["agent", "answer"],
    "Requests delivered to an agent, by answer: queued, known, done, ignored, dropped or retried",
);
const PROGRESS_LOST: Metric =
    Metric::counter("mesh_six_agent_progress_lost_total", &["agent"], "Progress notes that were not published");

/// All of them.
pub const METRICS: [Metric; 6] = [TASKS, SECONDS, IN_FLIGHT, QUEUED, DELIVERIES, PROGRESS_LOST];

/// A request has ended; `known` says whether it is for one of the agent's capabilities, else anybody may have
/// invented it.
pub(super) fn ended(result: &TaskResult, known: bool) {
    let agent = result.agent_id.clone();
    let outcome = result.error.as_ref().map_or("success", |e| e.error_type.as_str());
    let capability = if known { result.capability.clone() } else { OTHER.to_owned() };
    counter!(TASKS.name, "agent" => agent.clone(), "capability" => capability, "outcome" => outcome).increment(1);
    #[expect(clippy::cast_precision_loss, reason = "durations are far below 2^52 milliseconds")]
    histogram!(SECONDS.name, "agent" => agent).record(result.duration_ms as f64 / 1000.0);
}

/// A delivery was answered.
pub(super) fn delivered(agent: &str, answer: &'static str) {
    counter!(DELIVERIES.name, "agent" => agent.to_owned(), "answer" => answer).increment(1);
}

/// A note was not published.
pub(super) fn progress_lost(agent: &str) {
    counter!(PROGRESS_LOST.name, "agent" => agent.to_owned()).increment(1);
}

/// The queue has this length.
pub(super) fn queued(agent: &str, length: i64) {
    #[expect(clippy::cast_precision_loss, reason = "a queue is far shorter than 2^52")]
    gauge!(QUEUED.name, "agent" => agent.to_owned()).set(length as f64);
}

/// Counts a request as in flight for as long as it lives.
pub(super) struct InFlight(Gauge);

impl InFlight {
    /// One more.
    pub(super) fn begin(agent: &str) -> Self {
        let gauge = gauge!(IN_FLIGHT.name, "agent" => agent.to_owned());
        gauge.increment(1.0);
        Self(gauge)
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.decrement(1.0);
    }
}
