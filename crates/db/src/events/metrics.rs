//! The log's figures, for whatever recorder the process has installed.

use metrics::{counter, gauge, histogram};

use super::Appended;

/// After a statement: how many events it wrote and how many were already on record.
#[expect(clippy::cast_precision_loss, reason = "a batch has at most thousands of events")]
pub(crate) fn written(appended: &[Appended]) {
    let duplicates = appended.iter().filter(|a| matches!(a, Appended::Duplicate)).count();
    counter!("mesh_six_events_written_total").increment((appended.len() - duplicates) as u64);
    counter!("mesh_six_events_duplicate_total").increment(duplicates as u64);
    histogram!("mesh_six_events_batch_size").record(appended.len() as f64);
}

/// Events that a sink could not keep.
pub(crate) fn dropped(count: usize) {
    counter!("mesh_six_events_dropped_total").increment(count as u64);
}

/// Events that wait for a writer.
#[expect(clippy::cast_precision_loss, reason = "the queue is bounded")]
pub(crate) fn queue_depth(events: usize) {
    gauge!("mesh_six_events_queue_depth").set(events as f64);
}

/// How long the horizon has been held back, in seconds.
pub(crate) fn horizon_age(seconds: f64) {
    gauge!("mesh_six_events_horizon_age_seconds").set(seconds);
}
