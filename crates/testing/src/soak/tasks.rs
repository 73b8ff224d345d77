//! The load of tasks: submitted over HTTP as a careful caller does it, with an `Idempotency-Key` and until it is accepted.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use anyhow::{Result, bail, ensure};
use chrono::{DateTime, TimeDelta, Utc};
use reqwest::Client;
use serde_json::{Value, json};
use tokio::{
    sync::Semaphore,
    task::JoinSet,
    time::{Instant, sleep, sleep_until},
};

use crate::{Call, Reply, StubModel};

/// What both agents can do.
pub(super) const CAPABILITY: &str = "general-query";
/// Seconds that one attempt may take.
const TIMEOUT: u64 = 60;
/// Callers at once.
const CALLERS: usize = 32;
/// How long a caller waits for an answer before it asks again.
const ANSWER: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(300);

/// Which tasks, and how they are spread.
#[derive(Clone)]
pub(super) struct TaskLoad {
    /// What the queries and the keys begin with, to tell loads apart.
    pub(super) name: String,
    /// How many.
    pub(super) count: usize,
    /// From when.
    pub(super) begin: Instant,
    /// The time over which they are spread.
    pub(super) length: Duration,
    /// When it is given up.
    pub(super) end: Instant,
}

/// A task that was accepted.
#[derive(Clone, Debug)]
pub(super) struct Submitted {
    /// Its number within the load.
    pub(super) number: usize,
    /// Its id.
    pub(super) task_id: String,
    /// When the call began that was answered.
    pub(super) sent: DateTime<Utc>,
    /// Calls that were answered otherwise, or not at all.
    pub(super) again: usize,
}

impl TaskLoad {
    /// What the model is asked for task `number`.
    pub(super) fn query(&self, number: usize) -> String {
        format!("{} {number}: why?", self.name)
    }

    /// The number in a query of this load.
    pub(super) fn number(&self, query: &str) -> Option<usize> {
        query.strip_prefix(&self.name)?.trim().split(':').next()?.parse().ok()
    }

    /// Submits all of them, in turn to each of `orchestrators` (roots of their APIs).
    pub(super) async fn submit(
        self,
        http: Client,
        orchestrators: Vec<String>,
        count: Arc<AtomicUsize>,
    ) -> Result<Vec<Submitted>> {
        let callers = Arc::new(Semaphore::new(CALLERS));
        let mut calls = JoinSet::new();
        let pause = self.length.div_f64(f64::from(u32::try_from(self.count.max(1))?));
        for number in 0..self.count {
            sleep_until(self.begin + pause * u32::try_from(number)?).await;
            let permit = callers.clone().acquire_owned().await?;
            let (load, http, urls, count) = (self.clone(), http.clone(), orchestrators.clone(), count.clone());
            calls.spawn(async move {
                let submitted = load.submit_one(&http, &urls, number).await;
                count.fetch_add(1, Ordering::Relaxed);
                drop(permit);
                submitted
            });
        }
        calls.join_all().await.into_iter().collect()
    }

    async fn submit_one(&self, http: &Client, urls: &[String], number: usize) -> Result<Submitted> {
        let body = json!({ "capability": CAPABILITY, "payload": { "query": self.query(number) }, "timeout": TIMEOUT });
        let key = format!("{} {number}", self.name);
        let mut again = 0;
        loop {
            let sent = Utc::now();
            let url = format!("{}/api/v1/tasks", urls[(number + again) % urls.len()]);
            let call = http.post(url).header("Idempotency-Key", &key).timeout(ANSWER).json(&body).send();
            // An answer that breaks off is none.
            let answer = match call.await {
                Ok(answer) => Some((answer.status().as_u16(), answer.json::<Value>().await.unwrap_or_default())),
                Err(_) => None,
            };
            match answer {
                Some((200, task)) if task["taskId"].is_string() => {
                    let task_id = task["taskId"].as_str().unwrap_or_default().to_owned();
                    return Ok(Submitted { number, task_id, sent, again });
                }
                Some((status @ 400..=499, refusal)) => bail!("task {number} was refused with {status}: {refusal}"),
                _ => {}
            }
            again += 1;
            ensure!(Instant::now() < self.end, "task {number} was not accepted in time; the last answer: {answer:?}");
            sleep(PAUSE).await;
        }
    }
}

/// One run of the model.
#[derive(Clone, Debug)]
pub(super) struct Run {
    /// What was asked.
    pub(super) query: String,
    /// Which agent asked.
    pub(super) agent: String,
    /// When.
    pub(super) at: DateTime<Utc>,
}

/// A model that takes its time, each query its own, so that attempts are under way when something fails.
pub(super) async fn model() -> StubModel {
    let model = StubModel::start().await;
    model.answer_with(|call| Reply::text("Because of how light is scattered.").after(thinking(call)));
    model
}

/// From 20 ms to 1.2 s, and one in sixteen 4 s more; the same for the same query.
fn thinking(call: &Call) -> Duration {
    let query = call.last("user").unwrap_or_default();
    let mixed = query.bytes().fold(7_u64, |sum, byte| sum.wrapping_mul(31).wrapping_add(u64::from(byte)));
    let millis = 20 + mixed % 1_180;
    Duration::from_millis(if mixed % 16 == 0 { millis + 4_000 } else { millis })
}

/// All runs of the model so far.
pub(super) fn runs(model: &StubModel) -> Vec<Run> {
    let (now, clock) = (Instant::now(), Utc::now());
    let run = |call: Call| Run {
        query: call.last("user").unwrap_or_default().to_owned(),
        // The last line of what every agent tells its model.
        agent: call.last("system").unwrap_or_default().trim_end().lines().next_back().unwrap_or_default().to_owned(),
        at: clock - TimeDelta::from_std(now.duration_since(call.at)).unwrap_or_default(),
    };
    model.calls().into_iter().map(run).collect()
}
