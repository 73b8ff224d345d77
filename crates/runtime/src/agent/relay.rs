//! Publishes results until the sidecar takes them.

use std::{sync::Arc, time::Duration};

use mesh_six_core::names::TASK_RESULTS;
use mesh_six_db::inbox::{InboxKey, Unpublished};
use mesh_six_sidecar::{Message, Sidecar};
use serde_json::json;
use tokio::{sync::Notify, task::JoinSet};
use tokio_util::sync::CancellationToken;

use super::inbox::Inbox;

/// Results in one call.
const BATCH: usize = 100;
/// Calls at once: a subscriber that keeps one waiting must not hold up the others.
const CALLS: usize = 8;
/// How often the inbox is looked at for what other processes left and what is due again.
const POLL: Duration = Duration::from_secs(1);
/// The longest pause before a result is tried again.
const MAX_PAUSE: Duration = Duration::from_mins(1);

/// The relay of an agent's results.
#[derive(Clone)]
pub(super) struct Relay {
    pub(super) inbox: Arc<dyn Inbox>,
    pub(super) sidecar: Arc<dyn Sidecar>,
    /// There is something to publish.
    pub(super) finished: Arc<Notify>,
}

impl Relay {
    /// Publishes until `stop`, and then what is left.
    pub(super) async fn run(self, stop: CancellationToken) {
        let mut calls = JoinSet::new();
        while !stop.is_cancelled() {
            if self.begin(&mut calls).await {
                continue;
            }
            tokio::select! {
                () = self.finished.notified() => {}
                () = tokio::time::sleep(POLL) => {}
                () = stop.cancelled() => {}
            }
        }
        while self.begin(&mut calls).await {}
        while calls.join_next().await.is_some() {}
    }

    /// Begins to publish one batch, if there is one; true if there may be more.
    async fn begin(&self, calls: &mut JoinSet<()>) -> bool {
        while calls.try_join_next().is_some() {}
        if calls.len() >= CALLS {
            calls.join_next().await;
        }
        match self.inbox.unpublished(BATCH).await {
            Ok(batch) if batch.is_empty() => false,
            Ok(batch) => {
                let full = batch.len() == BATCH;
                let relay = self.clone();
                calls.spawn(async move { relay.publish(batch).await });
                full
            }
            Err(error) => {
                tracing::debug!(error = &error as &dyn std::error::Error, "the inbox cannot be read");
                false
            }
        }
    }

    async fn publish(&self, batch: Vec<Unpublished>) {
        let messages = batch.iter().map(message).collect();
        let answers = self.sidecar.publish_bulk(messages).await;
        for (due, answer) in batch.iter().zip(answers) {
            let key = InboxKey::of_result(&due.result);
            let marked = match answer {
                Ok(()) => self.inbox.published(&key).await,
                Err(error) => {
                    // A refusal may be for good, but the orchestrator reads the inbox too, so trying costs little.
                    log(&key, due.tries, &error);
                    self.inbox.postpone(&key, pause(due.tries)).await
                }
            };
            if let Err(error) = marked {
                // It is due again when its lease is over, and published as the same message.
                tracing::debug!(error = &error as &dyn std::error::Error, "the inbox cannot be written");
            }
        }
    }
}

fn log(key: &InboxKey, tries: i32, error: &(dyn std::error::Error + 'static)) {
    tracing::warn!(task.id = %key.task_id, key.attempt, tries, error, "a result was not published");
}

/// Id and time come from the result, so that a second publish is the same event.
fn message(due: &Unpublished) -> Message {
    let result = &due.result;
    Message {
        id: format!("result:{}:{}:{}", result.task_id, result.attempt, result.agent_id),
        topic: TASK_RESULTS.to_owned(),
        time: result.completed_at,
        traceparent: due.traceparent.clone().or_else(|| Some(result.trace_id.to_traceparent())),
        data: json!(result.for_message()),
    }
}

/// Doubles from a quarter of a second, with a part that is random, so that replicas do not try in step.
fn pause(tries: i32) -> Duration {
    let doubled = Duration::from_millis(250) * 2_u32.saturating_pow(tries.clamp(0, 8).unsigned_abs());
    doubled.min(MAX_PAUSE).mul_f64(0.75 + fastrand::f64() / 4.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_up_to_a_minute_and_never_overflow() {
        for (tries, least, most) in [(-1, 187, 250), (0, 187, 250), (3, 1_500, 2_000), (8, 45_000, 60_000)] {
            let taken = pause(tries).as_millis();
            assert!((least..=most).contains(&taken), "{tries}: {taken} ms");
        }
        assert!(pause(i32::MAX) <= MAX_PAUSE);
    }
}
