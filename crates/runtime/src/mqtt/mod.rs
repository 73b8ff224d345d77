//! What the dashboard is told over MQTT: where tasks stand and which agents there are (dashboard.md §1).
//!
//! A courtesy to whoever watches, never a part of a task: publishing does not wait and cannot fail its caller.
//! Messages are queued within a bound and sent with `QoS` 1, so while the broker is away the newest are dropped and
//! counted once the queue is full. Whoever needs all of it reads the event log.

mod connection;

use std::{sync::Arc, time::Duration};

use ::metrics::counter;
use mesh_six_core::metric::Metric;
use serde::Serialize;
use tokio::{sync::mpsc, task::AbortHandle};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::config::MqttSettings;
use connection::Connection;

const PUBLISHED: Metric =
    Metric::counter("mesh_six_mqtt_published_total", &[], "Messages that the MQTT broker has acknowledged");
const DROPPED: Metric = Metric::counter(
    "mesh_six_mqtt_dropped_total",
    &["cause"],
    "Messages to the MQTT broker that were given up, by cause: queue_full, too_large or closing",
);
const CONNECTED: Metric = Metric::gauge("mesh_six_mqtt_connected", &[], "Whether the MQTT broker is connected: 1 or 0");

/// All of them; only where a broker is named.
pub const METRICS: [Metric; 3] = [PUBLISHED, DROPPED, CONNECTED];

/// Messages that may wait for the broker.
const QUEUE: usize = 1_000;
/// Largest payload in bytes: a registration with all its metadata stays far below it.
const MAX_PAYLOAD: usize = 64 * 1024;

/// A message to the broker.
#[derive(Clone, Debug)]
struct Message {
    topic: String,
    payload: Vec<u8>,
    /// Whether the broker keeps it for those who come later.
    retain: bool,
}

/// A connection to the broker, shared by all that publish in this process.
#[derive(Clone, Debug)]
pub struct Mqtt(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    queue: mpsc::Sender<Message>,
    /// Send what is queued, then end.
    closing: CancellationToken,
    running: TaskTracker,
    abort: AbortHandle,
}

impl Mqtt {
    /// Connects in the background, and again whenever the connection is lost.
    pub fn start(settings: &MqttSettings) -> Self {
        Self::with_queue(settings, QUEUE)
    }

    /// As [`Mqtt::start`], with room for `queue` messages.
    pub fn with_queue(settings: &MqttSettings, queue: usize) -> Self {
        crate::metrics::describe(&METRICS);
        let (sender, receiver) = mpsc::channel(queue);
        let (closing, running) = (CancellationToken::new(), TaskTracker::new());
        let connection = Connection::new(settings, receiver, closing.clone());
        let abort = running.spawn(connection.run()).abort_handle();
        Self(Arc::new(Inner { queue: sender, closing, running, abort }))
    }

    /// Publishes `payload` as JSON, without waiting. With `retain`, who subscribes later gets the newest one too.
    pub fn publish(&self, topic: String, payload: &impl Serialize, retain: bool) {
        // Serialising plain data with text keys cannot fail.
        let payload = serde_json::to_vec(payload).unwrap_or_default();
        if payload.len() > MAX_PAYLOAD {
            tracing::warn!(topic, bytes = payload.len(), "a message is too large for MQTT and was dropped");
            return dropped("too_large", 1);
        }
        if self.0.queue.try_send(Message { topic, payload, retain }).is_err() {
            dropped("queue_full", 1);
        }
    }

    /// Sends what is queued, at most for `bound`, and disconnects. What is published later is dropped.
    pub async fn close(&self, bound: Duration) {
        self.0.closing.cancel();
        self.0.running.close();
        if tokio::time::timeout(bound, self.0.running.wait()).await.is_err() {
            self.0.abort.abort();
        }
    }
}

fn dropped(cause: &'static str, messages: usize) {
    counter!(DROPPED.name, "cause" => cause).increment(u64::try_from(messages).unwrap_or(u64::MAX));
}
