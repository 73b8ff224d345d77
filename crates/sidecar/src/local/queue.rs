//! The queue of one app for one topic: what is new, and what waits for its next try.

use std::{
    collections::{BTreeMap, VecDeque, btree_map::OccupiedEntry},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use http::HeaderValue;
use mesh_six_core::names;
use serde_json::value::RawValue;
use tokio::{
    sync::{Notify, OwnedSemaphorePermit, Semaphore},
    time::{Instant, sleep_until},
};

use super::receipt::Share;
use crate::metrics;

/// A batch ends with the message that brings it above this, so that it never exceeds what the delivery route takes,
/// not even as base64.
const MAX_BATCH_BYTES: usize = names::MAX_DELIVERY_BYTES / 2;

/// One copy of a message.
pub(super) struct Parcel {
    /// The envelope, shared among the copies.
    pub(super) envelope: Arc<RawValue>,
    /// The span that published it, if it belongs to a trace.
    pub(super) traceparent: Option<HeaderValue>,
    /// Metadata of the entry.
    pub(super) metadata: BTreeMap<String, String>,
    /// How often it was delivered in vain.
    pub(super) tries: u32,
    /// Its part in the publisher's message.
    pub(super) share: Share,
    /// Its place in the queue; free again when the copy is dealt with.
    _room: OwnedSemaphorePermit,
}

impl Parcel {
    pub(super) fn new(
        envelope: Arc<RawValue>,
        traceparent: Option<HeaderValue>,
        metadata: BTreeMap<String, String>,
        share: Share,
        room: OwnedSemaphorePermit,
    ) -> Self {
        Self { envelope, traceparent, metadata, tries: 0, share, _room: room }
    }
}

/// A bounded queue. Copies in flight count towards the bound.
pub(super) struct Queue {
    app_id: String,
    topic: String,
    /// A permit for each copy that still finds room.
    pub(super) room: Arc<Semaphore>,
    lanes: Mutex<Lanes>,
    changed: Notify,
}

#[derive(Default)]
struct Lanes {
    fresh: VecDeque<Parcel>,
    /// By the time of the next try; the number keeps the order within one instant.
    later: BTreeMap<(Instant, u64), Parcel>,
    serial: u64,
    closed: bool,
}

impl Queue {
    pub(super) fn new(app_id: &str, topic: &str, capacity: usize) -> Self {
        Self {
            app_id: app_id.to_owned(),
            topic: topic.to_owned(),
            room: Arc::new(Semaphore::new(capacity)),
            lanes: Mutex::default(),
            changed: Notify::new(),
        }
    }

    /// The app that this queue belongs to.
    pub(super) fn app_id(&self) -> &str {
        &self.app_id
    }

    /// Its topic.
    pub(super) fn topic(&self) -> &str {
        &self.topic
    }

    /// Puts a new copy at the end.
    pub(super) fn push(&self, parcel: Parcel) {
        let mut lanes = self.lanes();
        if !lanes.closed {
            lanes.fresh.push_back(parcel);
        }
        self.tell(&lanes);
    }

    /// Puts a copy aside until its next try.
    pub(super) fn push_later(&self, parcel: Parcel, due: Instant) {
        let mut lanes = self.lanes();
        if !lanes.closed {
            lanes.serial += 1;
            let key = (due, lanes.serial);
            lanes.later.insert(key, parcel);
        }
        self.tell(&lanes);
    }

    /// The next batch: what is there, at most `most`, as soon as there is something; what is due again comes before
    /// what is new. Nothing waits for company: an app gets one batch of a topic at a time, so whatever comes
    /// meanwhile is the next one. Dropping the future loses nothing.
    pub(super) async fn next_batch(&self, most: usize) -> Vec<Parcel> {
        loop {
            let now = Instant::now();
            let due = {
                let mut lanes = self.lanes();
                if lanes.is_ready(now) {
                    let batch = lanes.take(now, most);
                    self.tell(&lanes);
                    return batch;
                }
                lanes.later.first_key_value().map(|((due, _), _)| *due)
            };
            match due {
                Some(due) => tokio::select! {
                    () = self.changed.notified() => {}
                    () = sleep_until(due) => {}
                },
                None => self.changed.notified().await,
            }
        }
    }

    /// Throws everything away and takes nothing any more.
    pub(super) fn close(&self) {
        self.room.close();
        let thrown = {
            let mut lanes = self.lanes();
            lanes.closed = true;
            (std::mem::take(&mut lanes.fresh), std::mem::take(&mut lanes.later))
        };
        drop(thrown);
    }

    fn lanes(&self) -> MutexGuard<'_, Lanes> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, lanes: &Lanes) {
        metrics::depth(&self.app_id, &self.topic, lanes.fresh.len() + lanes.later.len());
        self.changed.notify_one();
    }
}

impl Lanes {
    fn is_ready(&self, now: Instant) -> bool {
        !self.fresh.is_empty() || self.later.first_key_value().is_some_and(|((due, _), _)| *due <= now)
    }

    fn take(&mut self, now: Instant, most: usize) -> Vec<Parcel> {
        let mut batch = Vec::new();
        let mut bytes = 0;
        while batch.len() < most && bytes < MAX_BATCH_BYTES {
            let due = self.later.first_entry().filter(|entry| entry.key().0 <= now).map(OccupiedEntry::remove);
            let Some(parcel) = due.or_else(|| self.fresh.pop_front()) else { break };
            bytes += parcel.envelope.get().len();
            batch.push(parcel);
        }
        batch
    }
}
