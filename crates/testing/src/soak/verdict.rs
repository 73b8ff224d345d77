//! What was found, as rows of the table.

use std::collections::{BTreeMap, HashSet};

use anyhow::Result;
use mesh_six_core::names::EVENT_LOGGER;
use mesh_six_db::{
    Database, DbConfig,
    seals::{self, VerifyOptions},
};
use tokio_postgres::Client;

use super::{
    Plan, Row,
    checks::{self, told},
    faults::Done,
    messages::{self, Lane},
    plan::Kind,
    settle::Settled,
    tasks::{Run, Submitted, TaskLoad},
};
use crate::{
    launch::Witness,
    rig::{POSTGRESQL, RABBITMQ, Rig},
    template::connect,
};

/// How often each part must have been killed in a whole run.
const KILLS: u32 = 5;

/// What a run leaves behind.
pub(super) struct Evidence<'a> {
    /// What was to be done.
    pub(super) plan: &'a Plan,
    /// Whether the run was long enough for all of the work.
    pub(super) whole: bool,
    /// What was done.
    pub(super) done: Done,
    /// The tasks.
    pub(super) load: &'a TaskLoad,
    /// Those that were accepted.
    pub(super) submitted: &'a [Submitted],
    /// What the model was asked.
    pub(super) runs: Vec<Run>,
    /// Notes, answers of the agent without a database, answers of the one with one.
    pub(super) lanes: &'a [Lane; 3],
    /// What became of it all.
    pub(super) settled: &'a Settled,
    /// Copies of what reached the topics of results and of progress.
    pub(super) witnesses: &'a [Witness; 2],
}

/// A row for the messages, one for the tasks, one for the log.
pub(super) async fn rows(rig: &Rig, evidence: Evidence<'_>) -> Result<Vec<Row>> {
    let client = connect(rig.owner_url()).await?;
    let messages = evidence.messages(&client).await?;
    let tasks = evidence.tasks(&client, rig).await?;
    Ok(vec![messages, tasks, log(&client, rig).await?])
}

impl Evidence<'_> {
    async fn messages(&self, client: &Client) -> Result<Row> {
        let [notes, lone, kept] = self.lanes;
        let all = || self.lanes.iter().flat_map(|lane| &lane.accepted);
        let (rows, mut violations) = checks::accepted_are_rows(client, all()).await?;
        let twice = checks::keys_twice(client).await?;
        let seen = self.seen_by_the_broker().await?;
        let missing = |lane: &Lane| lane.accepted.iter().filter(|message| !seen.contains(&message.id)).count();
        let (lost, lost_though_confirmed) = (missing(kept), missing(notes) + missing(lone));
        let Settled { replayed, expected, unexpected, unsettled, took } = self.settled;
        violations.extend(twice.iter().cloned());
        violations.extend(unsettled.iter().map(|what| format!("{what} after {:.0} s", took.as_secs_f64())));
        violations
            .extend(unexpected.iter().map(|what| format!("became dead letters without a reason of their own: {what}")));
        let parts = [EVENT_LOGGER, &format!("{EVENT_LOGGER}.daprd"), RABBITMQ, POSTGRESQL];
        violations.extend(self.too_few_kills(parts));
        let accepted = all().count();
        let confirmed = notes.accepted.len() + lone.accepted.len();
        Ok(Row::new(
            format!("{accepted} messages on task-results and task-progress"),
            parts.map(|part| self.faults_of(part)).join(", "),
            "accepted = rows once dead letters are replayed, no key twice; what the broker lost is on record by the other path",
            format!(
                "{accepted} accepted ({confirmed} confirmed by the broker, {} by a sidecar); {rows} rows; {replayed} dead letters replayed ({expected} provoked); {} keys twice; of those that a \
                 sidecar took {lost} never reached the broker's queues, {lost_though_confirmed} of those it confirmed; \
                 settled {:.0} s after the last fault",
                kept.accepted.len(),
                twice.len(),
                took.as_secs_f64(),
            ),
            violations,
        ))
    }

    /// The ids of all messages that the broker has put into queues.
    async fn seen_by_the_broker(&self) -> Result<HashSet<String>> {
        let mut seen = HashSet::new();
        for witness in self.witnesses {
            witness.drain(|body| seen.extend(messages::id_of(&body))).await?;
        }
        Ok(seen)
    }

    async fn tasks(&self, client: &Client, rig: &Rig) -> Result<Row> {
        let ended = checks::tasks_ended(client, self.load, self.submitted).await?;
        let away = &self.done.without_database;
        let runs = checks::model_runs(client, self.load, self.submitted, &self.runs, away).await?;
        let mut violations = ended.violations;
        violations.extend(runs.violations);
        let parts = rig.parts();
        violations.extend(self.too_few_kills(parts.iter().map(String::as_str)));
        let kills: Vec<u32> = parts.iter().map(|part| self.done.kills(part)).collect();
        let (least, most) = (kills.iter().min().copied().unwrap_or(0), kills.iter().max().copied().unwrap_or(0));
        let mut by_kind: BTreeMap<Kind, u32> = BTreeMap::new();
        for ((_, kind), count) in &self.done.counts {
            *by_kind.entry(*kind).or_default() += count;
        }
        let of = |kind| by_kind.get(&kind).copied().unwrap_or(0);
        let again: usize = self.submitted.iter().map(|task| task.again).sum();
        Ok(Row::new(
            format!("{} tasks through two orchestrators and two agents of one capability", self.submitted.len()),
            format!(
                "{} parts killed {least} to {most} times each, {} stops in order, {} ways cut, {} silent; {} starts of \
                 processes that had ended for want of something",
                parts.len(),
                of(Kind::Stop),
                of(Kind::Cut),
                of(Kind::Silence),
                self.done.revived.values().sum::<u32>(),
            ),
            "every task ends exactly once with an answer or a final failure; no attempt runs its model twice while the \
             database lives; attempts <= 3",
            format!(
                "{} completed, {} failed, {} submissions tried again; {} attempts, at most {} of a task; {} runs of the \
                 model, {} twice in an attempt that had lost the database",
                ended.completed,
                ended.failed,
                again,
                ended.attempts,
                ended.most_attempts,
                runs.count,
                runs.without_database,
            ),
            violations,
        ))
    }

    /// In a short run each part must have been killed as often as there are rounds.
    fn too_few_kills<'p>(&self, parts: impl IntoIterator<Item = &'p str>) -> Vec<String> {
        let least = if self.whole { KILLS } else { self.plan.rounds.min(KILLS) };
        let few = parts.into_iter().filter(|part| self.done.kills(part) < least);
        few.map(|part| format!("{part} was killed {} times, not {least}", self.done.kills(part))).collect()
    }

    fn faults_of(&self, part: &str) -> String {
        let counts = self.done.counts.iter().filter(|((target, _), _)| target == part);
        let counts: Vec<String> = counts.map(|((_, kind), count)| format!("{count} x {}", kind.as_str())).collect();
        format!("{part} {}", counts.join(" + "))
    }
}

/// The log itself: its order and its seals.
async fn log(client: &Client, rig: &Rig) -> Result<Row> {
    let rows: i64 = client.query_one("SELECT count(*) FROM mesh_six_events", &[]).await?.get(0);
    let mut violations = checks::out_of_order(client).await?;
    let stray: i64 = client.query_one("SELECT count(*) FROM mesh_six_events_default", &[]).await?.get(0);
    if stray > 0 {
        violations.push(format!("{stray} rows are in the default partition"));
    }
    let db = Database::connect(DbConfig::new(rig.owner_url(), "soak")).await?;
    let verified = seals::verify(&db, VerifyOptions::default(), |_| {}).await?;
    violations.extend(told(verified.difference.iter().map(|difference| format!("the seals differ: {difference:?}"))));
    if verified.rows == 0 {
        violations.push("nothing is sealed".to_owned());
    }
    db.close();
    Ok(Row::new(
        format!("the log after all that, {rows} events"),
        "as above, sealed every 5 s meanwhile",
        "facts of a task in the order in which they were written; the chain of seals as recomputed",
        format!(
            "{} rows under {} seals verified, {} not sealed yet",
            verified.rows, verified.seals, verified.unsealed.rows
        ),
        violations,
    ))
}
