//! The outbox relay: publishes what is written to be published, at least once.
//!
//! Messages that this process wrote come right after their commit; those that another process left are found by
//! polling. Requests and copies of events go in lanes of their own, so that a slow event logger never delays a
//! task. Nothing here keeps a transaction open while it publishes.

use std::{sync::Arc, time::Duration};

use mesh_six_db::{
    DbResult, dead_letters,
    outbox::{self, Claimant, Outgoing},
    tasks,
};
use mesh_six_runtime::Background;
use mesh_six_sidecar::{CloudEvent, Message, Sidecar, SidecarError};
use tokio::{
    sync::{Mutex, Notify, mpsc},
    task::JoinSet,
    time::timeout,
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{config::OrchestratorConfig, engine::Engine, metrics, outage::Outage};

/// Messages that may wait in a lane; what does not fit is found by polling when its lease has ended.
const LANE: usize = 4_096;
/// Publishes at once in a lane.
const AT_ONCE: usize = 64;
/// Messages claimed at once.
const BATCH: i64 = 200;
/// Longest pause between two tries of a message.
const MAX_PAUSE: Duration = Duration::from_secs(15);
/// How long publishes in flight may go on when the service ends.
const DRAIN: Duration = Duration::from_secs(3);

/// Where messages are handed over.
pub(crate) struct Relay {
    requests: mpsc::Sender<Outgoing>,
    events: mpsc::Sender<Outgoing>,
    claimant: Claimant,
    /// Wakes the poller.
    pub(crate) waiting: Notify,
}

/// The other ends, to be run.
pub(crate) struct Lanes {
    requests: mpsc::Receiver<Outgoing>,
    events: mpsc::Receiver<Outgoing>,
}

/// A relay and what runs it.
pub(crate) fn new(config: &OrchestratorConfig) -> (Relay, Lanes) {
    let (requests, requests_out) = mpsc::channel(LANE);
    let (events, events_out) = mpsc::channel(LANE);
    let claimant = Claimant::new(config.lease);
    let relay = Relay { requests, events, claimant, waiting: Notify::new() };
    (relay, Lanes { requests: requests_out, events: events_out })
}

impl Relay {
    /// Under which messages are born claimed.
    pub(crate) fn claimant(&self) -> Claimant {
        self.claimant
    }

    /// Publishes `messages`, which are committed and claimed by this relay.
    pub(crate) fn hand_over(&self, messages: Vec<Outgoing>) {
        for message in messages {
            let _ = self.lane(&message).try_send(message);
        }
    }

    fn lane(&self, message: &Outgoing) -> &mpsc::Sender<Outgoing> {
        if message.attempt.is_some() { &self.requests } else { &self.events }
    }
}

impl Lanes {
    /// Runs the lanes, the poller, and what marks messages as sent.
    pub(crate) fn spawn(self, background: &Background, engine: &Arc<Engine>, sidecar: &Arc<dyn Sidecar>) {
        let (marks, marked) = mpsc::channel(LANE);
        for (name, lane) in [("relay.requests", self.requests), ("relay.events", self.events)] {
            let lane = Arc::new(Mutex::new(lane));
            let publisher =
                Publisher { engine: Arc::clone(engine), sidecar: Arc::clone(sidecar), marks: marks.clone() };
            let stop = background.token();
            background.spawn_restarting(name, move || publisher.clone().run(Arc::clone(&lane), stop.clone()));
        }
        drop(marks);
        let (e, marked) = (Arc::clone(engine), Arc::new(Mutex::new(marked)));
        background.spawn_restarting("relay.marks", move || mark(Arc::clone(&e), Arc::clone(&marked)));
        let (e, stop) = (Arc::clone(engine), background.token());
        background.spawn_restarting("relay.poll", move || poll(Arc::clone(&e), stop.clone()));
    }
}

#[derive(Clone)]
struct Publisher {
    engine: Arc<Engine>,
    sidecar: Arc<dyn Sidecar>,
    marks: mpsc::Sender<Uuid>,
}

impl Publisher {
    async fn run(self, lane: Arc<Mutex<mpsc::Receiver<Outgoing>>>, stop: CancellationToken) {
        let mut lane = lane.lock().await;
        let mut publishing = JoinSet::new();
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                Some(_) = publishing.join_next(), if !publishing.is_empty() => {}
                message = lane.recv(), if publishing.len() < AT_ONCE => match message {
                    Some(message) => { publishing.spawn(self.clone().publish(message)); }
                    None => break,
                },
            }
        }
        let drained = async { while publishing.join_next().await.is_some() {} };
        if timeout(DRAIN, drained).await.is_err() {
            tracing::info!(messages = publishing.len(), "publishes in flight are left for the next start");
        }
    }

    async fn publish(self, outgoing: Outgoing) {
        let published = match &outgoing.letter_id {
            None => timeout(self.engine.config.publish_timeout, self.sidecar.publish(message(&outgoing))).await,
            Some(letter) => timeout(self.engine.config.publish_timeout, self.republish(letter)).await,
        };
        let noted = match published {
            Ok(Ok(())) => {
                metrics::published("sent");
                let _ = self.marks.send(outgoing.id).await;
                return;
            }
            Ok(Err(error)) if !error.is_transient() => self.bury(&outgoing, &error).await,
            Ok(Err(error)) => self.postpone(&outgoing, &error.to_string()).await,
            Err(_) => self.postpone(&outgoing, "no answer in time").await,
        };
        if let Err(error) = noted {
            // The lease ends, and then the message is tried again.
            tracing::warn!(error = %error, message.id = %outgoing.id, "a failed publish was not noted");
        }
    }

    /// Sends a dead letter again, as the event that it was. The letter is read only now: content that was erased in
    /// the meantime is not sent.
    async fn republish(&self, letter_id: &str) -> Result<(), SidecarError> {
        let found = async {
            let mut conn = self.engine.db.conn().await?;
            dead_letters::to_send(&mut conn, letter_id).await
        };
        match found.await {
            Ok(Some(stored)) => self.sidecar.republish(&stored.letter.topic, &stored.envelope).await,
            Ok(None) => Ok(()),
            // A fault of ours does not make the letter unsendable either.
            Err(error) => Err(SidecarError::Unavailable(format!("the letter cannot be read: {error}"))),
        }
    }

    async fn postpone(&self, outgoing: &Outgoing, why: &str) -> DbResult<()> {
        metrics::published("retried");
        tracing::debug!(message.id = %outgoing.id, message.topic = outgoing.topic, why, "publish failed; trying again");
        let mut conn = self.engine.db.conn().await?;
        outbox::failed(&mut conn, outgoing.id, self.engine.claimant, pause(outgoing.tries)).await
    }

    async fn bury(&self, outgoing: &Outgoing, error: &SidecarError) -> DbResult<()> {
        metrics::published("refused");
        tracing::error!(message.id = %outgoing.id, message.topic = outgoing.topic, error = %error, "publish refused");
        let mut conn = self.engine.db.conn().await?;
        if outgoing.letter_id.is_some() {
            return dead_letters::unsendable(&mut conn, outgoing, &error.to_string()).await;
        }
        let envelope = CloudEvent::wrap(self.sidecar.app_id(), message(outgoing));
        // An envelope is plain data with text keys, which always has a JSON form.
        let envelope = serde_json::to_vec(&envelope).unwrap_or_default();
        let why = error.to_string();
        let change = tasks::undeliverable(&mut conn, outgoing, envelope, &why, self.engine.claimant).await?;
        drop(conn);
        if let Some(task) = outgoing.task_id {
            self.engine.follow(task, change);
        }
        Ok(())
    }
}

/// What a row of the outbox publishes. Id and time are the row's, so a second publish is the same event.
fn message(outgoing: &Outgoing) -> Message {
    Message {
        id: outgoing.id.to_string(),
        topic: outgoing.topic.clone(),
        time: outgoing.created_at,
        traceparent: outgoing.traceparent.clone(),
        data: outgoing.data.clone(),
    }
}

/// The pause before try `tries + 2`, doubled each time, with a fifth of chance so that messages spread.
fn pause(tries: i32) -> Duration {
    let doubled = Duration::from_millis(250) * 2_u32.saturating_pow(u32::try_from(tries).unwrap_or(0).min(6));
    doubled.min(MAX_PAUSE).mul_f64(0.9 + 0.2 * fastrand::f64())
}

/// Marks messages as sent, as many at once as have come together.
async fn mark(engine: Arc<Engine>, marked: Arc<Mutex<mpsc::Receiver<Uuid>>>) {
    let mut marked = marked.lock().await;
    let mut outage = Outage::new("marking messages as sent");
    let mut ids = Vec::new();
    while marked.recv_many(&mut ids, 500).await > 0 {
        let noted = async {
            let mut conn = engine.db.conn().await?;
            outbox::sent(&mut conn, &ids, engine.claimant).await
        };
        // Not marked: published again when the lease has ended, as the same event.
        outage.note(noted.await);
        ids.clear();
    }
}

/// Finds messages that are due and nobody's.
async fn poll(engine: Arc<Engine>, stop: CancellationToken) {
    let mut outage = Outage::new("the outbox");
    while !stop.is_cancelled() {
        let claimed = async {
            let mut conn = engine.db.conn().await?;
            outbox::claim(&mut conn, engine.claimant, BATCH).await
        };
        let found = outage.note(claimed.await).unwrap_or_default();
        let more = i64::try_from(found.len()).is_ok_and(|n| n >= BATCH);
        for message in found {
            let lane = engine.relay.lane(&message).clone();
            tokio::select! {
                _ = lane.send(message) => {}
                () = stop.cancelled() => return,
            }
        }
        if !more {
            let woken = async {
                tokio::select! {
                    () = engine.relay.waiting.notified() => {}
                    () = stop.cancelled() => {}
                }
            };
            let _ = timeout(engine.config.poll, woken).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_bound() {
        assert!(pause(0) < Duration::from_millis(300));
        assert!(pause(3) > Duration::from_millis(1_700));
        assert!(pause(i32::MAX) <= MAX_PAUSE.mul_f64(1.1));
    }
}
