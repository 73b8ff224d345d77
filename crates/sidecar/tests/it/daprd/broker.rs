//! Topics, queues, and the delivery of one subscription in bulk.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex},
    time::Duration,
};

use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::{Value, json};
use tokio::{sync::Notify, time::sleep};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{APP_TOKEN, Shared, TOKEN_HEADER};

#[derive(Default)]
pub(super) struct Broker {
    /// Topic and app-id.
    queues: Mutex<HashMap<(String, String), Arc<Queue>>>,
}

/// The messages of one app for one topic, as bytes.
#[derive(Default)]
struct Queue {
    messages: Mutex<VecDeque<String>>,
    filled: Notify,
}

impl Broker {
    fn queue(&self, topic: &str, app_id: &str) -> Arc<Queue> {
        let mut queues = self.queues.lock().unwrap();
        queues.entry((topic.to_owned(), app_id.to_owned())).or_default().clone()
    }

    /// A message for a topic without queues is gone.
    pub(super) fn publish(&self, topic: &str, message: &str) {
        for ((of, _), queue) in self.queues.lock().unwrap().iter() {
            if of == topic {
                queue.messages.lock().unwrap().push_back(message.to_owned());
                queue.filled.notify_one();
            }
        }
    }
}

/// The delivery of one subscription, batch after batch.
pub(super) struct Delivery {
    shared: Arc<Shared>,
    url: String,
    /// As the app told it.
    subscription: Value,
    queue: Arc<Queue>,
}

impl Delivery {
    pub(super) fn new(shared: Arc<Shared>, app_id: &str, url: &str, subscription: Value) -> Self {
        assert_eq!(subscription["bulkSubscribe"]["enabled"], true);
        let queue = shared.broker.queue(subscription["topic"].as_str().unwrap(), app_id);
        let url = format!("{url}{}", subscription["route"].as_str().unwrap());
        Self { shared, url, subscription, queue }
    }

    /// Until `stop`; a delivery that has begun is finished.
    pub(super) async fn run(self, stop: CancellationToken) {
        let bulk = &self.subscription["bulkSubscribe"];
        let most = usize::try_from(bulk["maxMessagesCount"].as_u64().unwrap()).unwrap();
        let wait = Duration::from_millis(bulk["maxAwaitDurationMs"].as_u64().unwrap());
        loop {
            if self.queue.messages.lock().unwrap().is_empty() {
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = self.queue.filled.notified() => {}
                }
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = sleep(wait) => {}
            }
            let batch: Vec<String> = {
                let mut messages = self.queue.messages.lock().unwrap();
                let count = most.min(messages.len());
                messages.drain(..count).collect()
            };
            let again = self.deliver(batch).await;
            let mut messages = self.queue.messages.lock().unwrap();
            again.into_iter().rev().for_each(|message| messages.push_front(message));
        }
    }

    /// Returns what must be delivered again.
    async fn deliver(&self, batch: Vec<String>) -> Vec<String> {
        if batch.is_empty() {
            return batch;
        }
        let raw = self.subscription["metadata"]["rawPayload"] == "true";
        let entry = |(place, message): (usize, &String)| {
            let (event, kind) = if raw {
                (json!(BASE64_STANDARD.encode(message)), "application/octet-stream")
            } else {
                (serde_json::from_str(message).unwrap(), "application/cloudevents+json")
            };
            json!({"entryId": place.to_string(), "event": event, "metadata": null, "contentType": kind})
        };
        let body = json!({
            "id": Uuid::new_v4(), "type": "com.dapr.event.sent.bulk", "metadata": null,
            "topic": self.subscription["topic"], "pubsubname": self.subscription["pubsubname"],
            "entries": batch.iter().enumerate().map(entry).collect::<Vec<_>>(),
        });
        let request = self.shared.client.post(&self.url).header(TOKEN_HEADER, APP_TOKEN).json(&body);
        let answer = match request.send().await {
            Ok(response) if response.status() == 200 => response.json().await.unwrap_or_default(),
            Ok(response) if response.status() == 404 => return Vec::new(),
            _ => Value::Null,
        };
        let statuses = answer["statuses"].as_array().cloned().unwrap_or_default();
        let mut again = Vec::new();
        for (place, message) in batch.into_iter().enumerate() {
            let entry_id = json!(place.to_string());
            let told = statuses.iter().find(|row| row["entryId"] == entry_id);
            match told.and_then(|row| row["status"].as_str()) {
                Some("SUCCESS") => {}
                Some("DROP") => {
                    if let Some(topic) = self.subscription["deadLetterTopic"].as_str() {
                        self.shared.broker.publish(topic, &message);
                    }
                }
                _ => again.push(message),
            }
        }
        again
    }
}
