//! What the database's side counts, for whatever recorder the process has installed.

use mesh_six_core::metric::Metric;
use metrics::{counter, gauge, histogram};

use crate::events::Appended;

const WRITTEN: Metric = Metric::counter("mesh_six_events_written_total", &[], "Events written to the log");
const DUPLICATE: Metric =
    Metric::counter("mesh_six_events_duplicate_total", &[], "Events that were on record already and not written again");
const DROPPED: Metric = Metric::counter(
    "mesh_six_events_dropped_total",
    &[],
    "Model and tool events that were lost, since the sink was full or they could not be written",
);
const BATCH: Metric = Metric::histogram("mesh_six_events_batch_size", &[], "Events in one statement");
const QUEUE: Metric = Metric::gauge(
    "mesh_six_events_queue_depth",
    &[],
    "Events in the group commit that wait for a writer or are being written",
);
const SINK: Metric =
    Metric::gauge("mesh_six_event_sink_queue_depth", &[], "Model and tool events that wait to be written");
const HORIZON: Metric = Metric::gauge(
    "mesh_six_events_horizon_age_seconds",
    &[],
    "How long an open transaction has been holding up all tails of the log; 0 when none does",
);
const STRAY: Metric = Metric::gauge(
    "mesh_six_events_default_partition_rows",
    &[],
    "Events in the default partition, where their month had none",
);
const UNSEALED: Metric =
    Metric::gauge("mesh_six_seals_unsealed_age_seconds", &[], "Age of the oldest event that no seal covers");
const SEALS: Metric = Metric::counter("mesh_six_seals_made_total", &[], "Seals that this process has made");
const SEALED: Metric =
    Metric::counter("mesh_six_sealed_rows_total", &[], "Events that the seals of this process cover");

/// All of them.
pub const METRICS: [Metric; 11] =
    [WRITTEN, DUPLICATE, DROPPED, BATCH, QUEUE, SINK, HORIZON, STRAY, UNSEALED, SEALS, SEALED];

/// After a statement: how many events it wrote and how many were already on record.
#[expect(clippy::cast_precision_loss, reason = "a batch has at most thousands of events")]
pub(crate) fn written(appended: &[Appended]) {
    let duplicates = appended.iter().filter(|a| matches!(a, Appended::Duplicate)).count();
    counter!(WRITTEN.name).increment((appended.len() - duplicates) as u64);
    counter!(DUPLICATE.name).increment(duplicates as u64);
    histogram!(BATCH.name).record(appended.len() as f64);
}

/// Events that a sink could not keep.
pub(crate) fn dropped(count: usize) {
    counter!(DROPPED.name).increment(count as u64);
}

/// Events that the group commit holds.
#[expect(clippy::cast_precision_loss, reason = "the queue is bounded")]
pub(crate) fn queue_depth(events: usize) {
    gauge!(QUEUE.name).set(events as f64);
}

/// Events that a sink holds.
#[expect(clippy::cast_precision_loss, reason = "the sink is bounded")]
pub(crate) fn sink_depth(events: usize) {
    gauge!(SINK.name).set(events as f64);
}

/// How long the horizon has been held back, in seconds.
pub(crate) fn horizon_age(seconds: f64) {
    gauge!(HORIZON.name).set(seconds);
}

/// Events in the default partition.
#[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
pub(crate) fn stray(rows: i64) {
    gauge!(STRAY.name).set(rows as f64);
}

/// Age of the oldest event without a seal, in seconds.
pub(crate) fn unsealed(seconds: f64) {
    gauge!(UNSEALED.name).set(seconds);
}

/// A seal over so many rows.
pub(crate) fn sealed(rows: i64) {
    counter!(SEALS.name).increment(1);
    counter!(SEALED.name).increment(rows.cast_unsigned());
}
