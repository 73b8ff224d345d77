//! The load of messages: notes and answers, by two ways, each accepted when somebody has said that he has it.
//!
//! | lane | topic | accepted when | who else has the fact |
//! |---|---|---|---|
//! | notes | task-progress | the broker confirmed it | nobody |
//! | answers of an agent without a database | task-results | the broker confirmed it | nobody |
//! | answers of an agent with one | task-results | its sidecar said 204, which is no proof | the log, by the direct path |
//!
//! Some of the second lane's come before anybody knows of their task: they must become dead letters, to be replayed once
//! it is known.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use anyhow::{Result, ensure};
use chrono::{DateTime, Utc};
use mesh_six_core::{
    TraceId, Usage,
    event::{catalogue, key::cloud_event_key},
    id::new_id,
    names::{TASK_PROGRESS, TASK_RESULTS},
    task::{TaskProgress, TaskRequest, TaskResult},
    time,
};
use mesh_six_db::events::EventLog;
use mesh_six_sidecar::{CloudEvent, Message, Sidecar};
use serde_json::json;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_postgres::Client;

use crate::launch::AmqpPublisher;

/// Who writes the notes.
pub(super) const NOTES: &str = "soak-notes";
/// The agent without a database.
pub(super) const LONE: &str = "soak-lone";
/// The agent with one.
pub(super) const AGENT: &str = "soak-agent";

/// Messages that are published together.
const BATCH: usize = 100;
/// How long the broker may take to confirm a batch before it is sent again.
const CONFIRM: Duration = Duration::from_secs(5);
/// A pause while nobody takes anything.
const PAUSE: Duration = Duration::from_millis(200);
/// Of the answers of the agent without a database, one in so many comes too early.
const EARLY: usize = 50;
/// Rows that are written together.
const CHUNK: usize = 5_000;

/// A message that somebody accepted.
#[derive(Clone, Debug)]
pub(super) struct Accepted {
    /// CloudEvent id.
    pub(super) id: String,
    /// The key under which the log must hold it once.
    pub(super) key: String,
}

/// What a lane has done.
#[derive(Debug, Default)]
pub(super) struct Lane {
    /// All that was accepted; in the end all that there is.
    pub(super) accepted: Vec<Accepted>,
}

/// How a lane is paced.
#[derive(Clone)]
pub(super) struct Pace {
    /// From when.
    pub(super) begin: Instant,
    /// The time over which the messages are spread.
    pub(super) length: Duration,
    /// When it is given up.
    pub(super) end: Instant,
    /// Accepted messages of all lanes so far.
    pub(super) count: Arc<AtomicUsize>,
}

impl Pace {
    /// Waits until batch `number` of `count` is due. They come in bursts, so that there is something under way when
    /// something fails.
    async fn due(&self, number: usize, count: usize) -> Result<()> {
        ensure!(Instant::now() < self.end, "messages were not accepted in time");
        let burst = number - number % 4;
        let share = f64::from(u32::try_from(burst)?) / f64::from(u32::try_from(count)?);
        sleep_until(self.begin + self.length.mul_f64(share)).await;
        Ok(())
    }
}

/// Publishes `count` notes.
pub(super) async fn notes(broker: &str, count: usize, pace: Pace) -> Result<Lane> {
    let mut publisher = AmqpPublisher::new(broker);
    let mut lane = Lane::default();
    let batches = count.div_ceil(BATCH);
    for number in 0..batches {
        pace.due(number, batches).await?;
        let left = (count - number * BATCH).min(BATCH);
        let batch: Vec<_> = (0..left).map(|place| note(NOTES, place)).collect();
        lane.send(&mut publisher, TASK_PROGRESS, batch, &pace).await?;
    }
    Ok(lane)
}

/// A note of `source` with what the log will know it by.
pub(super) fn note(source: &str, number: usize) -> (Accepted, Vec<u8>) {
    let (id, now, trace) = (new_id().to_string(), time::now(), TraceId::new());
    let note = TaskProgress {
        task_id: new_id(),
        agent_id: source.to_owned(),
        trace_id: trace,
        status: "working".to_owned(),
        details: Some(json!({ "step": number, "note": "A sentence about what is being done at the moment." })),
    };
    let key = cloud_event_key(source, &id, now);
    (Accepted { id: id.clone(), key }, envelope(source, TASK_PROGRESS, id, now, json!(note)))
}

/// As a sidecar would send it.
fn envelope(source: &str, topic: &str, id: String, time: DateTime<Utc>, data: serde_json::Value) -> Vec<u8> {
    let message = Message { id, topic: topic.to_owned(), time, traceparent: None, data };
    json!(CloudEvent::wrap(source, message)).to_string().into_bytes()
}

impl Lane {
    /// Until the broker has confirmed all of them.
    async fn send(
        &mut self,
        publisher: &mut AmqpPublisher,
        topic: &str,
        batch: Vec<(Accepted, Vec<u8>)>,
        pace: &Pace,
    ) -> Result<()> {
        let mut open = batch;
        loop {
            let bodies: Vec<Vec<u8>> = open.iter().map(|(_, body)| body.clone()).collect();
            let confirmed = publisher.publish(topic, &bodies, CONFIRM).await;
            let mut left = Vec::new();
            for (one, confirmed) in open.into_iter().zip(confirmed) {
                if confirmed {
                    self.accepted.push(one.0);
                    pace.count.fetch_add(1, Ordering::Relaxed);
                } else {
                    left.push(one);
                }
            }
            if left.is_empty() {
                return Ok(());
            }
            open = left;
            ensure!(Instant::now() < pace.end, "messages were not accepted in time");
            sleep(PAUSE).await;
        }
    }
}

/// Answers of one of the two agents, to tasks that nobody but the soak has given.
pub(super) struct Answers {
    results: Vec<TaskResult>,
    agent: &'static str,
}

impl Answers {
    /// So many of `agent`.
    pub(super) fn of(agent: &'static str, count: usize) -> Self {
        Self { results: (0..count).map(|number| result(agent, number)).collect(), agent }
    }

    /// Writes their tasks as such that have ended with these very answers. Of the agent with a database also what its
    /// inbox holds. With `early` only the tasks of those that come too early, else all others.
    pub(super) async fn plant(&self, client: &Client, early: bool) -> Result<()> {
        let chosen: Vec<&TaskResult> = self
            .results
            .iter()
            .enumerate()
            .filter(|(n, _)| self.is_early(*n) == early)
            .map(|(_, result)| result)
            .collect();
        for chunk in chosen.chunks(CHUNK) {
            let texts = |of: &dyn Fn(&TaskResult) -> String| chunk.iter().map(|result| of(result)).collect::<Vec<_>>();
            let ids = texts(&|result| result.task_id.to_string());
            let traces = texts(&|result| result.trace_id.as_uuid().to_string());
            let results = texts(&|result| json!(result).to_string());
            let inbox = self.agent == AGENT;
            client.execute(PLANT, &[&ids, &traces, &results, &self.agent, &inbox]).await?;
        }
        Ok(())
    }

    /// How many come too early.
    pub(super) fn early(&self) -> usize {
        (0..self.results.len()).filter(|number| self.is_early(*number)).count()
    }

    fn is_early(&self, number: usize) -> bool {
        self.agent == LONE && number % EARLY == EARLY - 1
    }

    /// Publishes those of the agent without a database straight to the broker.
    pub(super) async fn publish(&self, broker: &str, pace: Pace) -> Result<Lane> {
        let mut publisher = AmqpPublisher::new(broker);
        let mut lane = Lane::default();
        let batches = self.results.len().div_ceil(BATCH);
        for (number, results) in self.results.chunks(BATCH).enumerate() {
            pace.due(number, batches).await?;
            let batch = results.iter().map(|result| {
                let accepted = accepted(result);
                let body = envelope(self.agent, TASK_RESULTS, accepted.id.clone(), result.completed_at, json!(result));
                (accepted, body)
            });
            lane.send(&mut publisher, TASK_RESULTS, batch.collect(), &pace).await?;
        }
        Ok(lane)
    }

    /// What the agent with a database does: the fact into the log, then the message to its sidecar, until that takes it.
    pub(super) async fn write_and_publish(&self, log: &EventLog, sidecar: &dyn Sidecar, pace: Pace) -> Result<Lane> {
        let mut lane = Lane::default();
        let batches = self.results.len().div_ceil(BATCH);
        for (number, results) in self.results.chunks(BATCH).enumerate() {
            pace.due(number, batches).await?;
            let facts: Vec<_> = results.iter().map(|result| catalogue::task_result(result, true)).collect();
            while let Err(error) = log.append(facts.clone()).await {
                ensure!(error.is_transient(), "the log refused a fact: {error}");
                ensure!(Instant::now() < pace.end, "the log did not take facts in time");
                sleep(PAUSE).await;
            }
            let mut open: Vec<&TaskResult> = results.iter().collect();
            loop {
                let answers = sidecar.publish_bulk(open.iter().map(|result| message(result)).collect()).await;
                let mut left = Vec::new();
                for (result, answer) in open.into_iter().zip(answers) {
                    if answer.is_ok() {
                        lane.accepted.push(accepted(result));
                        pace.count.fetch_add(1, Ordering::Relaxed);
                    } else {
                        left.push(result);
                    }
                }
                if left.is_empty() {
                    break;
                }
                open = left;
                ensure!(Instant::now() < pace.end, "messages were not accepted in time");
                sleep(PAUSE).await;
            }
        }
        Ok(lane)
    }
}

/// Tasks that have ended, with attempts that have, in one statement: the foreign key is looked at when it is over.
const PLANT: &str = "\
    WITH given AS (SELECT * FROM unnest($1::text[]::uuid[], $2::text[]::uuid[], $3::text[]::jsonb[]) \
        AS given (task_id, trace_id, result)), \
    tasks AS (INSERT INTO orchestrator_tasks (task_id, capability, requested_by, trace_id, status, dispatched_to, \
            attempts, result_hash, ended_at) \
        SELECT task_id, 'soak', 'soak', trace_id, 'completed', $4, 1, result->>'resultHash', now() FROM given), \
    inbox AS (INSERT INTO agent_inbox (task_id, attempt, agent_id, state, request, deadline_at, result, result_hash, \
            taken_at, finished_at) \
        SELECT task_id, 1, $4, 'published', '{}', now(), result, result->>'resultHash', now(), now() \
        FROM given WHERE $5) \
    INSERT INTO task_attempts (task_id, attempt, agent_id, deadline_at, outcome, ended_at) \
    SELECT task_id, 1, $4, now(), 'success', now() FROM given";

fn result(agent: &str, number: usize) -> TaskResult {
    let request = TaskRequest {
        id: new_id(),
        capability: "soak".to_owned(),
        payload: serde_json::Map::new(),
        priority: 5,
        timeout: 60,
        requested_by: "soak".to_owned(),
        created_at: time::now(),
        trace_id: TraceId::new(),
        attempt: 1,
        user_id: None,
    };
    let answer = json!({ "response": format!("This is the answer to question {number}.") });
    TaskResult::new(&request, agent, Ok(answer), 10, Usage::default())
}

fn accepted(result: &TaskResult) -> Accepted {
    let TaskResult { task_id, attempt, agent_id, .. } = result;
    let id = format!("result:{task_id}:{attempt}:{agent_id}");
    Accepted { key: id.clone(), id }
}

fn message(result: &TaskResult) -> Message {
    Message {
        id: accepted(result).id,
        topic: TASK_RESULTS.to_owned(),
        time: result.completed_at,
        traceparent: Some(result.trace_id.to_traceparent()),
        data: json!(result),
    }
}

/// The CloudEvent id in a message's body.
pub(super) fn id_of(body: &[u8]) -> Option<String> {
    let event: serde_json::Value = serde_json::from_slice(body).ok()?;
    Some(event.get("id")?.as_str()?.to_owned())
}
