//! The delivery of one subscription: batch after batch, as Dapr does it.

use std::{borrow::Cow, collections::BTreeMap, sync::Arc};

use axum::Router;
use base64::{Engine, prelude::BASE64_STANDARD};
use http::{HeaderMap, Method};
use serde_json::value::{RawValue, to_raw_value};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{
    answers::{self, Outcome},
    broker::Broker,
    call::{TRACEPARENT, call},
    config::MeshConfig,
    queue::{Parcel, Queue},
};
use crate::{
    bulk::{BulkEntry, BulkRequest, Subscription},
    metrics,
};

/// Most messages in one delivery, whatever the subscription asks for.
const MAX_BATCH: usize = 1_000;

/// Takes batches out of a queue and gives them to an app.
pub(super) struct Worker {
    pub(super) broker: Arc<Broker>,
    pub(super) config: Arc<MeshConfig>,
    pub(super) queue: Arc<Queue>,
    pub(super) subscription: Subscription,
    pub(super) router: Router,
    /// The sidecar's token.
    pub(super) headers: HeaderMap,
}

impl Worker {
    /// Delivers until `stop`; a delivery that has begun is finished.
    pub(super) async fn run(self, stop: CancellationToken) {
        let bulk = self.subscription.bulk_subscribe;
        let most = bulk.max_messages_count.clamp(1, MAX_BATCH);
        loop {
            let batch = tokio::select! {
                biased;
                () = stop.cancelled() => return,
                batch = self.queue.next_batch(most) => batch,
            };
            self.in_flight(batch.len());
            let outcomes = self.deliver(&batch).await;
            for (parcel, outcome) in batch.into_iter().zip(outcomes) {
                self.conclude(parcel, outcome);
            }
            self.in_flight(0);
        }
    }

    async fn deliver(&self, batch: &[Parcel]) -> Vec<Outcome> {
        let entry_ids: Vec<String> = batch.iter().map(|_| Uuid::new_v4().to_string()).collect();
        let topic = self.queue.topic();
        let answer = match self.request(batch, &entry_ids) {
            Ok(body) => {
                let mut headers = self.headers.clone();
                // A request has one trace only, as beside Dapr that of its last message; the envelopes have their own.
                let traceparent = batch.last().and_then(|parcel| parcel.traceparent.clone());
                headers.extend(traceparent.map(|traceparent| (TRACEPARENT, traceparent)));
                let limit = self.config.handler_timeout;
                call(self.router.clone(), Method::POST, &self.subscription.route, headers, body, limit).await
            }
            Err(error) => {
                tracing::error!(app.id = self.queue.app_id(), messaging.topic = topic, %error, "a batch cannot be written");
                return vec![Outcome::Retry; batch.len()];
            }
        };
        match answer {
            Ok((status, body)) => {
                if status != 200 {
                    tracing::warn!(app.id = self.queue.app_id(), messaging.topic = topic, status, "delivery refused");
                }
                answers::read(status, &body, &entry_ids)
            }
            Err(error) => {
                tracing::warn!(app.id = self.queue.app_id(), messaging.topic = topic, %error, "delivery failed");
                vec![Outcome::Retry; batch.len()]
            }
        }
    }

    fn request(&self, batch: &[Parcel], entry_ids: &[String]) -> serde_json::Result<Vec<u8>> {
        let raw = self.subscription.is_raw();
        let entries = batch.iter().zip(entry_ids).map(|(parcel, entry_id)| {
            let event: Cow<'_, RawValue> = if raw {
                Cow::Owned(to_raw_value(&BASE64_STANDARD.encode(parcel.envelope.get()))?)
            } else {
                Cow::Borrowed(&parcel.envelope)
            };
            let content_type = if raw { "application/octet-stream" } else { "application/cloudevents+json" };
            Ok(BulkEntry {
                entry_id: entry_id.clone(),
                event,
                metadata: parcel.metadata.clone(),
                content_type: content_type.to_owned(),
            })
        });
        serde_json::to_vec(&BulkRequest {
            id: Uuid::new_v4().to_string(),
            kind: "com.dapr.event.sent.bulk".to_owned(),
            topic: self.subscription.topic.clone(),
            pubsubname: self.subscription.pubsubname.clone(),
            metadata: BTreeMap::new(),
            entries: entries.collect::<serde_json::Result<_>>()?,
        })
    }

    fn conclude(&self, parcel: Parcel, outcome: Outcome) {
        let (app_id, topic) = (self.queue.app_id(), self.queue.topic());
        let (label, again) = match outcome {
            Outcome::Ack => {
                parcel.share.settle();
                ("ack", None)
            }
            Outcome::Retry => ("retry", Some(parcel)),
            // Without room for a dead letter the message is tried again, as Dapr does when it cannot forward it.
            Outcome::Drop => ("drop", self.broker.bury(parcel, app_id, &self.subscription).err()),
        };
        metrics::delivered(app_id, topic, label);
        if let Some(mut parcel) = again {
            parcel.tries = parcel.tries.saturating_add(1);
            let due = Instant::now() + self.config.pause(app_id, parcel.tries);
            self.queue.push_later(parcel, due);
        }
    }

    fn in_flight(&self, count: usize) {
        metrics::in_flight(self.queue.app_id(), self.queue.topic(), count);
    }
}
