//! Publishing, one by one and in bulk.
//!
//! The envelope is ours and travels as `application/cloudevents+json`, so that Dapr keeps its id, source, time and
//! trace; wrapped by Dapr, a message published twice would be two events.

use std::{
    collections::{BTreeMap, BTreeSet},
    mem,
    time::Duration,
};

use futures_util::future::join_all;
use mesh_six_core::TraceId;
use reqwest::header::CONTENT_TYPE;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tracing::{Instrument, Span};

use super::{
    DaprSidecar,
    backoff::Backoff,
    client::{Answer, segment, send, traced},
};
use crate::{
    limits::{envelope, same_envelope},
    port::{Message, SidecarError},
    spans,
};

/// What spans call the system that messages go through.
const SYSTEM: &str = "dapr";

const CLOUD_EVENT: &str = "application/cloudevents+json";
/// How long one try may take.
const TRY_TIMEOUT: Duration = Duration::from_secs(5);
/// Most messages in one request.
const MAX_BULK: usize = 100;
/// Most bytes of messages in one request; Dapr takes bodies of 4 MiB.
const MAX_BULK_BYTES: usize = 2 * 1024 * 1024;

/// A message ready to be sent.
struct Entry {
    /// Its place among the messages to be answered.
    index: usize,
    envelope: Box<RawValue>,
    traceparent: Option<String>,
}

/// One message of a request, as Dapr reads it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct BulkItem<'a> {
    entry_id: String,
    event: &'a RawValue,
    content_type: &'static str,
}

/// What Dapr says of a bulk that did not go through as a whole.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct BulkFailure {
    failed_entries: Vec<FailedEntry>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct FailedEntry {
    entry_id: String,
}

type Answers = Vec<(usize, Result<(), SidecarError>)>;

impl DaprSidecar {
    pub(super) async fn publish_one(&self, mut message: Message) -> Result<(), SidecarError> {
        let span = spans::publish(SYSTEM, &mut message);
        let outcome = self.send_one(message).instrument(span.clone()).await;
        spans::published(&span, &outcome);
        outcome
    }

    async fn send_one(&self, message: Message) -> Result<(), SidecarError> {
        let (topic, traceparent) = (message.topic.clone(), message.traceparent.clone());
        let body = envelope(&self.app_id, &self.pubsub, message)?;
        self.publish_envelope(&topic, &body, traceparent.as_deref()).await
    }

    pub(super) async fn publish_again(&self, topic: &str, event: &[u8]) -> Result<(), SidecarError> {
        let (body, event) = same_envelope(event, topic, &self.pubsub)?;
        self.publish_envelope(topic, &body, event.trace_parent()).await
    }

    async fn publish_envelope(
        &self,
        topic: &str,
        body: &RawValue,
        traceparent: Option<&str>,
    ) -> Result<(), SidecarError> {
        let path = format!("publish/{}/{}", segment(&self.pubsub)?, segment(topic)?);
        let mut backoff = Backoff::new(self.publish_wait);
        loop {
            let request = self.api.post(&path).header(CONTENT_TYPE, CLOUD_EVENT).body(body.get().to_owned());
            let request = traced(request, traceparent);
            match send(request, backoff.left().min(TRY_TIMEOUT)).await.and_then(Answer::checked) {
                Ok(_) => return Ok(()),
                Err(error) => backoff.again(error).await?,
            }
        }
    }

    pub(super) async fn publish_many(&self, mut messages: Vec<Message>) -> Vec<Result<(), SidecarError>> {
        let spans: Vec<Span> = messages.iter_mut().map(|message| spans::publish(SYSTEM, message)).collect();
        let mut answers: Vec<Result<(), SidecarError>> = messages.iter().map(|_| Ok(())).collect();
        let mut topics: BTreeMap<String, Vec<Entry>> = BTreeMap::new();
        for (index, message) in messages.into_iter().enumerate() {
            let (topic, traceparent) = (message.topic.clone(), message.traceparent.clone());
            match envelope(&self.app_id, &self.pubsub, message) {
                Ok(envelope) => topics.entry(topic).or_default().push(Entry { index, envelope, traceparent }),
                Err(error) => answers[index] = Err(error),
            }
        }
        let told = join_all(topics.into_iter().map(|(topic, entries)| self.publish_topic(topic, entries))).await;
        for (index, answer) in told.into_iter().flatten() {
            answers[index] = answer;
        }
        spans.iter().zip(&answers).for_each(|(span, answer)| spans::published(span, answer));
        answers
    }

    /// Publishes the messages of one topic, request after request.
    async fn publish_topic(&self, topic: String, entries: Vec<Entry>) -> Answers {
        let path = match (segment(&self.pubsub), segment(&topic)) {
            (Ok(pubsub), Ok(topic)) => format!("publish/bulk/{pubsub}/{topic}"),
            (Err(error), _) | (_, Err(error)) => return answer_all(entries, &Err(error)),
        };
        let mut backoff = Backoff::new(self.publish_wait);
        let mut answers = Vec::with_capacity(entries.len());
        for mut batch in batches(entries) {
            while !batch.is_empty() {
                answers.extend(self.publish_batch(&path, &mut batch, &mut backoff).await);
            }
        }
        answers
    }

    /// One try. What is answered leaves `batch`; the rest stays for the next try, if there is time for one.
    async fn publish_batch(&self, path: &str, batch: &mut Vec<Entry>, backoff: &mut Backoff) -> Answers {
        let items: Vec<_> = batch.iter().enumerate().map(|(place, entry)| BulkItem::new(place, entry)).collect();
        // A request has one trace only; the envelopes have their own.
        let trace_of = |entry: &Entry| entry.traceparent.as_deref().and_then(TraceId::from_traceparent);
        let trace = batch.first().filter(|first| batch.iter().all(|entry| trace_of(entry) == trace_of(first)));
        let trace = trace.and_then(|first| first.traceparent.as_deref());
        let request = traced(self.api.post(path).json(&items), trace);
        let answer = send(request, backoff.left().min(TRY_TIMEOUT)).await;
        let failed = answer.as_ref().map(|answer| failed_places(answer, batch.len())).unwrap_or_default();
        let Err(error) = answer.and_then(Answer::checked) else {
            return answer_all(mem::take(batch), &Ok(()));
        };
        let mut answers = Vec::new();
        if error.is_transient() && !failed.is_empty() {
            for (place, entry) in mem::take(batch).into_iter().enumerate() {
                if failed.contains(&place) {
                    batch.push(entry);
                } else {
                    answers.push((entry.index, Ok(())));
                }
            }
        }
        if let Err(error) = backoff.again(error).await {
            answers.extend(answer_all(mem::take(batch), &Err(error)));
        }
        answers
    }
}

impl<'a> BulkItem<'a> {
    fn new(place: usize, entry: &'a Entry) -> Self {
        Self { entry_id: place.to_string(), event: &entry.envelope, content_type: CLOUD_EVENT }
    }
}

/// The places of the messages that did not go through; none if Dapr does not tell, then none went through.
fn failed_places(answer: &Answer, count: usize) -> BTreeSet<usize> {
    let failure: BulkFailure = serde_json::from_slice(&answer.body).unwrap_or_default();
    let place = |entry: FailedEntry| entry.entry_id.parse().ok().filter(|place| *place < count);
    failure.failed_entries.into_iter().map(place).collect::<Option<_>>().unwrap_or_default()
}

fn answer_all(entries: Vec<Entry>, answer: &Result<(), SidecarError>) -> Answers {
    entries.into_iter().map(|entry| (entry.index, answer.clone())).collect()
}

/// Cut into what one request may hold, in order.
fn batches(entries: Vec<Entry>) -> Vec<Vec<Entry>> {
    let mut batches: Vec<Vec<Entry>> = Vec::new();
    let mut bytes = 0;
    for entry in entries {
        let size = entry.envelope.get().len();
        match batches.last_mut() {
            Some(batch) if batch.len() < MAX_BULK && bytes + size <= MAX_BULK_BYTES => {
                bytes += size;
                batch.push(entry);
            }
            _ => {
                bytes = size;
                batches.push(vec![entry]);
            }
        }
    }
    batches
}
