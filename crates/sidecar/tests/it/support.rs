//! A scripted handler, messages, and waiting with a deadline.

use std::{
    fmt::Debug,
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use mesh_six_core::time::now;
use mesh_six_sidecar::{BulkHandler, Delivery, Message, Status, Subscription};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};
use uuid::Uuid;

pub(crate) const TRACEPARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

/// What a scripted handler does with one message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Answer(Status),
    Panic,
    /// Answers fewer statuses than there are messages.
    Missing,
    /// Never answers.
    Hang,
}

type Script = Box<dyn Fn(&Delivery, usize) -> Step + Send + Sync>;

/// Answers by a script that is told the message and how often it was answered before, and keeps what it was given.
pub(crate) struct Scripted {
    script: Script,
    seen: Mutex<Seen>,
    /// Whether reasons can be stored now.
    pub(crate) stores: bool,
}

#[derive(Clone, Default)]
pub(crate) struct Seen {
    /// Every batch, in order.
    pub(crate) batches: Vec<Vec<Delivery>>,
    /// Every message that was answered with a status, in order.
    pub(crate) answered: Vec<(Delivery, Step)>,
    /// The ids and reasons given to `dropped`.
    pub(crate) reasons: Vec<(String, String)>,
}

impl Scripted {
    pub(crate) fn new(script: impl Fn(&Delivery, usize) -> Step + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Self { script: Box::new(script), seen: Mutex::default(), stores: true })
    }

    pub(crate) fn always(status: Status) -> Arc<Self> {
        Self::new(move |_, _| Step::Answer(status))
    }

    pub(crate) fn seen(&self) -> Seen {
        self.seen.lock().unwrap().clone()
    }

    /// The ids of all messages given to the handler, in order, repeated ones included.
    pub(crate) fn ids(&self) -> Vec<String> {
        self.seen().batches.into_iter().flatten().map(|delivery| delivery.event.id).collect()
    }

    /// How many messages were answered with `status`.
    pub(crate) fn count(&self, status: Status) -> usize {
        self.seen().answered.iter().filter(|(_, step)| *step == Step::Answer(status)).count()
    }
}

#[async_trait]
impl BulkHandler for Scripted {
    async fn handle(&self, deliveries: Vec<Delivery>) -> Vec<Status> {
        let steps: Vec<Step> = {
            let mut seen = self.seen.lock().unwrap();
            seen.batches.push(deliveries.clone());
            let tries = |delivery: &Delivery| {
                let same = |(other, _): &&(Delivery, Step)| other.event.id == delivery.event.id;
                seen.answered.iter().filter(same).count()
            };
            deliveries.iter().map(|delivery| (self.script)(delivery, tries(delivery))).collect()
        };
        let answer = |count: usize| {
            let answered = deliveries.iter().cloned().zip(steps.iter().copied()).take(count);
            self.seen.lock().unwrap().answered.extend(answered);
        };
        if steps.contains(&Step::Hang) {
            answer(steps.len());
            std::future::pending::<()>().await;
        }
        if steps.contains(&Step::Panic) {
            // A panic over several messages is nobody's answer yet; alone it is.
            if steps.len() == 1 {
                answer(1);
            }
            panic!("as scripted");
        }
        let told = steps.iter().position(|step| *step == Step::Missing);
        // The missing answer itself counts as one, so that the script goes on.
        answer(told.map_or(steps.len(), |at| at + 1));
        let status = |step: &Step| match step {
            Step::Answer(status) => *status,
            _ => Status::Retry,
        };
        steps.iter().take(told.unwrap_or(steps.len())).map(status).collect()
    }

    async fn dropped(&self, delivery: &Delivery, reason: &str) -> Status {
        self.seen.lock().unwrap().reasons.push((delivery.event.id.clone(), reason.to_owned()));
        if self.stores { Status::Drop } else { Status::Retry }
    }
}

/// A topic that no other test uses.
pub(crate) fn topic() -> String {
    format!("test-{}", Uuid::now_v7().simple())
}

/// A subscription to `topic` with its dead letters in `dead-{topic}`.
pub(crate) fn subscription(topic: &str, most: usize) -> Subscription {
    let mut subscription = Subscription::bulk("agent-pubsub", topic, &format!("/{topic}"), most, 5);
    subscription.dead_letter_topic = Some(format!("dead-{topic}"));
    subscription
}

/// A subscription to the dead letters of [`subscription`].
pub(crate) fn dead_letters(topic: &str) -> Subscription {
    Subscription::bulk("events-dead", &format!("dead-{topic}"), &format!("/dead-{topic}"), 100, 5).raw_payload()
}

pub(crate) fn message(topic: &str, data: Value) -> Message {
    Message { id: Uuid::now_v7().to_string(), topic: topic.to_owned(), time: now(), traceparent: None, data }
}

/// Messages numbered from 0.
pub(crate) fn messages(topic: &str, count: usize) -> Vec<Message> {
    (0..count).map(|n| message(topic, json!({ "n": n }))).collect()
}

/// Waits until `get` gives `expected`.
pub(crate) async fn wait_for<T: PartialEq + Debug>(what: &str, expected: T, mut get: impl AsyncFnMut() -> T) {
    let deadline = Instant::now() + Duration::from_mins(1);
    loop {
        let got = get().await;
        if got == expected {
            return;
        }
        assert!(Instant::now() < deadline, "{what}: expected {expected:?}, got {got:?}");
        sleep(Duration::from_millis(5)).await;
    }
}
