//! What is counted about messages on their way.

use mesh_six_core::metric::Metric;
use metrics::{counter, gauge};

use crate::bulk::Status;

const RECEIVED: Metric = Metric::counter(
    "mesh_six_messages_received_total",
    &["topic", "status"],
    "Messages that a sidecar delivered, by what they were answered: success, retry or drop",
);
const REFUSED: Metric = Metric::counter(
    "mesh_six_messages_refused_total",
    &["topic", "cause"],
    "Messages that became dead letters: malformed, refused by their content, or after a panic",
);
const DELIVERED: Metric = Metric::counter(
    "mesh_six_messages_delivered_total",
    &["app", "topic", "outcome"],
    "Deliveries of the local mesh, by outcome: ack, retry or drop",
);
const UNROUTED: Metric = Metric::counter(
    "mesh_six_messages_unrouted_total",
    &["topic"],
    "Messages of the local mesh on topics that nobody subscribes to",
);
const DEPTH: Metric =
    Metric::gauge("mesh_six_queue_depth", &["app", "topic"], "Messages of the local mesh that wait for delivery");
const IN_FLIGHT: Metric =
    Metric::gauge("mesh_six_queue_in_flight", &["app", "topic"], "Messages of the local mesh that are being delivered");

/// All of them.
pub const METRICS: [Metric; 6] = [RECEIVED, REFUSED, DELIVERED, UNROUTED, DEPTH, IN_FLIGHT];

/// A delivery was answered.
pub(crate) fn received(topic: &str, status: Status) {
    counter!(RECEIVED.name, "topic" => topic.to_owned(), "status" => status.as_str()).increment(1);
}

/// A message was dropped; `cause` is one word.
pub(crate) fn refused(topic: &str, cause: &'static str) {
    counter!(REFUSED.name, "topic" => topic.to_owned(), "cause" => cause).increment(1);
}

/// The local mesh delivered a message.
pub(crate) fn delivered(app: &str, topic: &str, outcome: &'static str) {
    counter!(DELIVERED.name, "app" => app.to_owned(), "topic" => topic.to_owned(), "outcome" => outcome).increment(1);
}

/// The local mesh has a message for nobody.
pub(crate) fn unrouted(topic: &str) {
    counter!(UNROUTED.name, "topic" => topic.to_owned()).increment(1);
}

/// So many messages wait in a queue of the local mesh.
#[expect(clippy::cast_precision_loss, reason = "a queue's bound is far below 2^52")]
pub(crate) fn depth(app: &str, topic: &str, messages: usize) {
    gauge!(DEPTH.name, "app" => app.to_owned(), "topic" => topic.to_owned()).set(messages as f64);
}

/// So many messages of a queue of the local mesh are being delivered.
#[expect(clippy::cast_precision_loss, reason = "a batch has at most a thousand entries")]
pub(crate) fn in_flight(app: &str, topic: &str, messages: usize) {
    gauge!(IN_FLIGHT.name, "app" => app.to_owned(), "topic" => topic.to_owned()).set(messages as f64);
}
