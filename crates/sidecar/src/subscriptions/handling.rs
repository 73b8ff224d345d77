//! From the body of a delivery to one status for each of its entries.

use std::{any::Any, collections::BTreeMap, panic::AssertUnwindSafe};

use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use futures_util::FutureExt;
use mesh_six_core::{ApiError, ErrorType, parse_json};
use serde::Deserialize;
use serde_json::value::RawValue;
use tracing::Span;
use uuid::Uuid;

use crate::{
    bulk::{BulkEntry, BulkRequest, Status, Subscription},
    cloud_event::CloudEvent,
    delivery::{BulkHandler, Delivery, wrap_bytes},
    limits::MAX_ENVELOPE_BYTES,
    metrics, spans,
};

/// One entry as it came.
pub(super) struct Incoming {
    pub(super) entry_id: String,
    topic: String,
    bytes: Bytes,
    raw: bool,
    metadata: BTreeMap<String, String>,
}

/// What a request brought.
pub(super) enum Received {
    /// A batch.
    Bulk(Vec<Incoming>),
    /// One message alone, as Dapr delivers it without bulk subscription.
    Single(Incoming),
}

/// Reads the body of a delivery. A body that is no batch is one message, so that it can be dropped if it is
/// malformed: an error would bring it back for ever. Only a batch without usable entries is an error.
pub(super) fn receive(subscription: &Subscription, body: &Bytes) -> Result<Received, ApiError> {
    // serde would take an array of one for the members of `Shape` in their order.
    let object = body.trim_ascii_start().first() == Some(&b'{');
    let batch = object && serde_json::from_slice::<Shape>(body).is_ok_and(|shape| shape.entries.is_some());
    if !batch {
        return Ok(Received::Single(Incoming {
            entry_id: Uuid::new_v4().to_string(),
            topic: subscription.topic.clone(),
            bytes: body.clone(),
            raw: subscription.is_raw(),
            metadata: BTreeMap::new(),
        }));
    }
    let request: BulkRequest = parse_json(body)?;
    let entries = request.entries.into_iter().map(|entry| Incoming::new(subscription, entry));
    Ok(Received::Bulk(entries.collect()))
}

/// Just enough to tell a batch.
#[derive(Deserialize)]
struct Shape<'a> {
    #[serde(borrow)]
    entries: Option<&'a RawValue>,
}

impl Incoming {
    fn new(subscription: &Subscription, entry: BulkEntry<'_>) -> Self {
        let raw = subscription.is_raw();
        let text = Box::<str>::from(entry.event.into_owned());
        let decoded = raw.then(|| decode(&text)).flatten();
        Self {
            entry_id: entry.entry_id,
            topic: subscription.topic.clone(),
            bytes: decoded.unwrap_or_else(|| Bytes::from(text.into_string())),
            raw,
            metadata: entry.metadata,
        }
    }

    /// The message; bytes that must be an event and are none are the error, beside what could be made of them.
    fn delivery(&self) -> Result<Delivery, (Box<Delivery>, ApiError)> {
        match self.event() {
            Ok(event) => Ok(self.with(event, false)),
            Err(error) => {
                let delivery = self.with(wrap_bytes(&self.bytes, &self.topic), true);
                if self.raw { Ok(delivery) } else { Err((Box::new(delivery), error)) }
            }
        }
    }

    fn event(&self) -> Result<CloudEvent, ApiError> {
        if self.bytes.len() > MAX_ENVELOPE_BYTES && !self.raw {
            // No adapter publishes it, so it comes from somebody else.
            let message = format!("a message has at most {MAX_ENVELOPE_BYTES} bytes with its envelope");
            let error = ApiError::new(ErrorType::PayloadTooLarge, message);
            return Err(ApiError { field: Some("body".to_owned()), ..error });
        }
        CloudEvent::from_slice(&self.bytes)
    }

    fn with(&self, event: CloudEvent, wrapped: bool) -> Delivery {
        Delivery {
            entry_id: self.entry_id.clone(),
            topic: self.topic.clone(),
            traceparent: event.trace_parent().map(str::to_owned),
            event,
            bytes: self.bytes.clone(),
            wrapped,
            metadata: self.metadata.clone(),
        }
    }
}

/// A raw entry is base64 in a JSON text. Anything else is kept as it is: a dead letter is never refused.
fn decode(text: &str) -> Option<Bytes> {
    let encoded: String = serde_json::from_str(text).ok()?;
    BASE64_STANDARD.decode(encoded).ok().map(Bytes::from)
}

/// One status for each entry, in order.
pub(super) async fn handle(handler: &dyn BulkHandler, entries: &[Incoming]) -> Vec<Status> {
    let mut statuses = vec![Status::Retry; entries.len()];
    let mut whole = Part::default();
    for (index, entry) in entries.iter().enumerate() {
        match entry.delivery() {
            Ok(delivery) => whole.push(index, delivery),
            Err((delivery, error)) => statuses[index] = reject(handler, &delivery, &error).await,
        }
    }
    let mut parts = vec![whole];
    while let Some(Part { indices, deliveries, spans }) = parts.pop() {
        if indices.is_empty() {
            continue;
        }
        match AssertUnwindSafe(handler.handle(deliveries)).catch_unwind().await {
            Ok(answers) => {
                for ((index, answer), span) in indices.into_iter().zip(answers).zip(spans) {
                    spans::processed(&span, answer);
                    if matches!(answer, Status::Drop | Status::Buried) {
                        metrics::refused(&entries[index].topic, "refused");
                    }
                    statuses[index] = answer;
                }
            }
            Err(panic) => {
                if let [index] = *indices.as_slice() {
                    statuses[index] = drop_after_panic(handler, &entries[index], panic_text(panic)).await;
                    continue;
                }
                let (first, second) = indices.split_at(indices.len() / 2);
                // What is pushed last is taken next, so this keeps the order.
                parts.extend([Part::read(entries, second), Part::read(entries, first)]);
            }
        }
    }
    for (entry, status) in entries.iter().zip(&statuses) {
        metrics::received(&entry.topic, *status);
    }
    statuses
}

/// Some of a batch's entries.
#[derive(Default)]
struct Part {
    indices: Vec<usize>,
    deliveries: Vec<Delivery>,
    /// Each ends with the handling of its entry.
    spans: Vec<Span>,
}

impl Part {
    fn push(&mut self, index: usize, mut delivery: Delivery) {
        self.indices.push(index);
        self.spans.push(spans::process(&mut delivery));
        self.deliveries.push(delivery);
    }

    /// The events of `indices`, read again: the handler that panicked has taken them with it.
    fn read(entries: &[Incoming], indices: &[usize]) -> Self {
        let mut part = Self::default();
        for &index in indices {
            if let Ok(delivery) = entries[index].delivery() {
                part.push(index, delivery);
            }
        }
        part
    }
}

async fn reject(handler: &dyn BulkHandler, delivery: &Delivery, error: &ApiError) -> Status {
    let Delivery { topic, event, .. } = delivery;
    let field = error.field.as_deref();
    tracing::warn!(messaging.topic = %topic, event.id = %event.id, %error, field, "malformed message");
    stored_or_later(topic, "malformed", handler.rejected(delivery, error)).await
}

async fn drop_after_panic(handler: &dyn BulkHandler, entry: &Incoming, panic: String) -> Status {
    let (Ok(delivery) | Err((delivery, _))) = entry.delivery().map(Box::new);
    let reason = format!("the handler panicked: {panic}");
    let Delivery { topic, event, .. } = &*delivery;
    tracing::error!(messaging.topic = %topic, event.id = %event.id, reason, "a handler panicked on a message");
    stored_or_later(topic, "panic", handler.dropped(&delivery, &reason)).await
}

/// What a panic said, as far as it is text.
fn panic_text(panic: Box<dyn Any + Send>) -> String {
    match panic.downcast::<String>() {
        Ok(text) => *text,
        Err(panic) => panic.downcast_ref::<&str>().copied().unwrap_or("without a message").to_owned(),
    }
}

/// What `store` says that the message is to be answered. Where it panics it always would, and the message must not come
/// back for ever: DROP.
async fn stored_or_later(topic: &str, cause: &'static str, store: impl Future<Output = Status>) -> Status {
    let answer = AssertUnwindSafe(store).catch_unwind().await.unwrap_or_else(|_| {
        tracing::error!(messaging.topic = %topic, cause, "the reason of a dropped message could not be stored");
        Status::Drop
    });
    if answer != Status::Retry {
        metrics::refused(topic, cause);
    }
    answer
}
