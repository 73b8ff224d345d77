//! What an agent counts.

use ::metrics::{Gauge, Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};
use mesh_six_core::task::TaskResult;

/// Requests ended, by agent, capability and outcome: `success`, or the error's type.
const TASKS: &str = "mesh_six_agent_tasks_total";
/// How long requests took, by agent.
const SECONDS: &str = "mesh_six_agent_task_duration_seconds";
/// Requests being worked on, by agent.
const IN_FLIGHT: &str = "mesh_six_agent_tasks_in_flight";
/// Requests waiting in the inbox, by agent.
const QUEUED: &str = "mesh_six_agent_tasks_queued";
/// Deliveries, by agent and answer: queued, known, done, ignored, dropped, retried.
const DELIVERIES: &str = "mesh_six_agent_deliveries_total";
/// Progress notes that were not published, by agent.
const PROGRESS_LOST: &str = "mesh_six_agent_progress_lost_total";

/// Tells what each metric is.
pub(super) fn describe() {
    describe_counter!(TASKS, "Requests ended, by outcome: success, or the error's type");
    describe_histogram!(SECONDS, Unit::Seconds, "How long agents worked on requests");
    describe_gauge!(IN_FLIGHT, "Requests being worked on");
    describe_gauge!(QUEUED, "Requests waiting in the inbox");
    describe_counter!(DELIVERIES, "Requests delivered, by what the agent answered");
    describe_counter!(PROGRESS_LOST, "Progress notes that were not published");
}

/// A request has ended.
pub(super) fn ended(result: &TaskResult) {
    let agent = result.agent_id.clone();
    let outcome = result.error.as_ref().map_or("success", |e| e.error_type.as_str());
    counter!(TASKS, "agent" => agent.clone(), "capability" => result.capability.clone(), "outcome" => outcome)
        .increment(1);
    #[expect(clippy::cast_precision_loss, reason = "durations are far below 2^52 milliseconds")]
    histogram!(SECONDS, "agent" => agent).record(result.duration_ms as f64 / 1000.0);
}

/// A delivery was answered.
pub(super) fn delivered(agent: &str, answer: &'static str) {
    counter!(DELIVERIES, "agent" => agent.to_owned(), "answer" => answer).increment(1);
}

/// A note was not published.
pub(super) fn progress_lost(agent: &str) {
    counter!(PROGRESS_LOST, "agent" => agent.to_owned()).increment(1);
}

/// The queue has this length.
pub(super) fn queued(agent: &str, length: i64) {
    #[expect(clippy::cast_precision_loss, reason = "a queue is far shorter than 2^52")]
    gauge!(QUEUED, "agent" => agent.to_owned()).set(length as f64);
}

/// Counts a request as in flight for as long as it lives.
pub(super) struct InFlight(Gauge);

impl InFlight {
    /// One more.
    pub(super) fn begin(agent: &str) -> Self {
        let gauge = gauge!(IN_FLIGHT, "agent" => agent.to_owned());
        gauge.increment(1.0);
        Self(gauge)
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.decrement(1.0);
    }
}
