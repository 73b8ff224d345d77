//! Topics and their queues: from a published message to a copy in each subscriber's queue.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use http::HeaderValue;
use mesh_six_core::names;
use serde_json::value::RawValue;
use tokio::{
    sync::watch,
    time::{Instant, timeout_at},
};

use super::{
    queue::{Parcel, Queue},
    receipt::{Identity, Opened, Pending, Progress},
};
use crate::{
    bulk::Subscription,
    delivery::{ORIGIN_APP_ID, ORIGIN_TOPIC},
    limits::{envelope, same_envelope},
    metrics,
    port::{Message, SidecarError},
};

/// All topics of a mesh.
pub(super) struct Broker {
    /// Topic, app-id, queue. A queue stays when its app goes, and fills until the app is back.
    topics: Mutex<BTreeMap<String, BTreeMap<String, Arc<Queue>>>>,
    pending: Arc<Pending>,
    capacity: usize,
    closed: AtomicBool,
}

/// A message that was admitted.
pub(super) struct Admitted(Option<watch::Receiver<Progress>>);

impl Broker {
    pub(super) fn new(capacity: usize) -> Self {
        Self { topics: Mutex::default(), pending: Arc::default(), capacity, closed: AtomicBool::new(false) }
    }

    /// The queue of an app for a topic, made if there is none.
    pub(super) fn queue(&self, app_id: &str, topic: &str) -> Arc<Queue> {
        let mut topics = self.topics.lock().unwrap_or_else(PoisonError::into_inner);
        let queues = topics.entry(topic.to_owned()).or_default();
        let new = || Arc::new(Queue::new(app_id, topic, self.capacity));
        Arc::clone(queues.entry(app_id.to_owned()).or_insert_with(new))
    }

    fn queues(&self, topic: &str) -> Vec<Arc<Queue>> {
        let topics = self.topics.lock().unwrap_or_else(PoisonError::into_inner);
        topics.get(topic).map(|queues| queues.values().cloned().collect()).unwrap_or_default()
    }

    /// Puts a copy of `message` into the queue of every subscriber, waiting for room until `deadline`: either
    /// into all or into none.
    pub(super) async fn admit(
        &self,
        source: &str,
        message: Message,
        deadline: Instant,
    ) -> Result<Admitted, SidecarError> {
        let identity = (message.topic.clone(), source.to_owned(), message.id.clone());
        let traceparent = message.traceparent.clone();
        let envelope = envelope(source, names::PUBSUB, message)?;
        self.admit_envelope(identity, envelope, traceparent, deadline).await
    }

    /// The same for the bytes of an event that was published before, by whomever.
    pub(super) async fn admit_again(
        &self,
        topic: &str,
        event: &[u8],
        deadline: Instant,
    ) -> Result<Admitted, SidecarError> {
        let (envelope, event) = same_envelope(event, topic, names::PUBSUB)?;
        let traceparent = event.trace_parent().map(str::to_owned);
        self.admit_envelope((topic.to_owned(), event.source, event.id), envelope, traceparent, deadline).await
    }

    async fn admit_envelope(
        &self,
        identity: Identity,
        envelope: Box<RawValue>,
        traceparent: Option<String>,
        deadline: Instant,
    ) -> Result<Admitted, SidecarError> {
        if self.is_closed() {
            return Err(SidecarError::Unavailable("the mesh is shutting down".to_owned()));
        }
        let topic = identity.0.clone();
        let traceparent = traceparent.and_then(|text| HeaderValue::from_str(&text).ok());
        let queues = self.queues(&topic);
        if queues.is_empty() {
            metrics::unrouted(&topic);
            return Ok(Admitted(None));
        }
        let (share, progress) = match self.pending.open(identity) {
            Opened::First(share, progress) => (share, progress),
            Opened::Joined(progress) => return Ok(Admitted(Some(progress))),
        };
        let envelope = Arc::from(envelope);
        let mut rooms = Vec::with_capacity(queues.len());
        for queue in &queues {
            match timeout_at(deadline, Arc::clone(&queue.room).acquire_owned()).await {
                Ok(Ok(room)) => rooms.push(room),
                Ok(Err(_)) => return Err(SidecarError::Unavailable("the mesh is shutting down".to_owned())),
                Err(_) => {
                    let message = format!("the queue of {} for {topic} is full", queue.app_id());
                    return Err(SidecarError::Unavailable(message));
                }
            }
        }
        for (queue, room) in queues.iter().zip(rooms) {
            let (envelope, share) = (Arc::clone(&envelope), share.another());
            queue.push(Parcel::new(envelope, traceparent.clone(), BTreeMap::new(), share, room));
        }
        share.settle();
        Ok(Admitted(Some(progress)))
    }

    /// Moves a dropped copy to the dead-letter topic of `subscription`, envelope unchanged. The publisher goes on
    /// waiting until the dead letter has been taken, so that a dropped message is never nowhere. Comes back if
    /// there is no room for it now.
    pub(super) fn bury(&self, parcel: Parcel, app_id: &str, subscription: &Subscription) -> Result<(), Parcel> {
        let Some(topic) = &subscription.dead_letter_topic else {
            parcel.share.settle();
            return Ok(());
        };
        let queues = self.queues(topic);
        if queues.is_empty() {
            metrics::unrouted(topic);
        }
        let rooms: Vec<_> = queues.iter().map_while(|q| Arc::clone(&q.room).try_acquire_owned().ok()).collect();
        if rooms.len() < queues.len() {
            return Err(parcel);
        }
        for (queue, room) in queues.iter().zip(rooms) {
            let metadata = [(ORIGIN_APP_ID, app_id), (ORIGIN_TOPIC, &subscription.topic)];
            let metadata = metadata.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
            let (envelope, traceparent) = (Arc::clone(&parcel.envelope), parcel.traceparent.clone());
            queue.push(Parcel::new(envelope, traceparent, metadata, parcel.share.another(), room));
        }
        parcel.share.settle();
        Ok(())
    }

    /// How many messages are under way.
    pub(super) fn under_way(&self) -> watch::Receiver<usize> {
        self.pending.count()
    }

    /// Whether nothing is taken any more.
    pub(super) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Takes nothing any more.
    pub(super) fn stop_taking(&self) {
        self.closed.store(true, Ordering::Release);
    }

    /// Throws away what is left.
    pub(super) fn close(&self) {
        self.stop_taking();
        let topics = std::mem::take(&mut *self.topics.lock().unwrap_or_else(PoisonError::into_inner));
        topics.values().flat_map(BTreeMap::values).for_each(|queue| queue.close());
    }
}

impl Admitted {
    /// Waits until every subscriber has answered for good. After `deadline` the message stays queued, and a
    /// second publish of it joins the first.
    pub(super) async fn settled(self, deadline: Instant) -> Result<(), SidecarError> {
        let Some(mut progress) = self.0 else { return Ok(()) };
        match timeout_at(deadline, progress.wait_for(|progress| *progress != Progress::Waiting)).await {
            Ok(Ok(progress)) if *progress == Progress::Settled => Ok(()),
            Ok(_) => Err(SidecarError::Unavailable("the message was given up before everybody had it".to_owned())),
            Err(_) => {
                let message = "not every subscriber has taken the message yet; it stays queued".to_owned();
                Err(SidecarError::Unavailable(message))
            }
        }
    }
}
