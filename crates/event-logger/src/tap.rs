//! Which topics the event logger taps (messaging.md §1).

use std::sync::Arc;

use mesh_six_core::names::{DEAD_LETTER, TASK_EVENTS, TASK_PROGRESS, TASK_RESULTS};
use mesh_six_sidecar::{BulkHandler, Subscription};

use crate::ingest::{DeadLetters, Facts, Intake, TaskResults};

/// One pub/sub component per subscription: a component with several left messages behind after a broker's
/// restart (dapr-measured.md §1c). All speak to one broker and exchange.
pub(crate) fn subscriptions(intake: &Intake) -> Vec<(Subscription, Arc<dyn BulkHandler>)> {
    // The last stop: bytes as they are, and nowhere else to go.
    let dead = Subscription::bulk("events-dead", DEAD_LETTER, "/events/dead-letter", 100, 20).raw_payload();
    vec![
        (
            Subscription::bulk("events-results", TASK_RESULTS, "/events/task-results", 100, 10),
            Arc::new(TaskResults(intake.clone())),
        ),
        (
            Subscription::bulk("events-tasks", TASK_EVENTS, "/events/task-events", 100, 20),
            Arc::new(Facts::of_tasks(intake.clone())),
        ),
        (
            Subscription::bulk("events-progress", TASK_PROGRESS, "/events/task-progress", 100, 20),
            Arc::new(Facts::of_progress(intake.clone())),
        ),
        (dead, Arc::new(DeadLetters(intake.clone()))),
    ]
}
