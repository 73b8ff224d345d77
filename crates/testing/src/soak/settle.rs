//! After the last fault: waiting until everything has found its place, and replaying what became a dead letter.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use mesh_six_core::names::EVENT_LOGGER;
use serde_json::{Value, json};
use tokio::time::sleep;
use tokio_postgres::Client;

use super::{
    checks,
    messages::{Answers, Lane},
};
use crate::{launch::status, rig::Rig, template::connect};

const POLL: Duration = Duration::from_secs(1);
/// Letters that one request may replay.
const AT_ONCE: usize = 100;

/// What is to be settled.
pub(super) struct Settling<'a> {
    /// Where.
    pub(super) rig: &'a Rig,
    /// All messages that were accepted.
    pub(super) lanes: &'a [Lane],
    /// Among them are some that come before their task is known.
    pub(super) early: &'a Answers,
    /// The most time that each of the two steps may take.
    pub(super) drain: Duration,
}

/// How it went.
#[derive(Debug)]
pub(super) struct Settled {
    /// Letters that were replayed.
    pub(super) replayed: i64,
    /// Those among them that had to come about.
    pub(super) expected: usize,
    /// Reasons of the others.
    pub(super) unexpected: Vec<String>,
    /// What was not settled in time.
    pub(super) unsettled: Vec<String>,
    /// How long it took until all was settled but the letters.
    pub(super) took: Duration,
}

/// Waits, replays, waits.
pub(super) async fn settle(settling: &Settling<'_>) -> Result<Settled> {
    let begin = Instant::now();
    let client = connect(settling.rig.owner_url()).await?;
    let accepted = settling.lanes.iter().map(|lane| lane.accepted.len()).sum::<usize>();
    let expected = settling.early.early();
    let mut unsettled = settling.wait(&client, accepted - expected, expected).await?;
    let took = begin.elapsed();
    settling.early.plant(&client, true).await?;
    let letters = waiting(&client).await?;
    let unexpected = unexpected(&client).await?;
    replay(&settling.rig.url(EVENT_LOGGER)).await?;
    unsettled.extend(settling.wait(&client, accepted, 0).await?);
    Ok(Settled { replayed: letters, expected, unexpected, unsettled, took })
}

impl Settling<'_> {
    /// Until there are so many rows and at least so many letters, and nothing else is left to do. What is, when the time
    /// is over.
    async fn wait(&self, client: &Client, rows: usize, letters: usize) -> Result<Vec<String>> {
        let begin = Instant::now();
        loop {
            let mut left = checks::left_over(client).await?;
            let there = usize::try_from(checks::rows_of_messages(client).await?)?;
            if there < rows {
                left.push(format!("{there} of {rows} messages are rows"));
            }
            let dead = usize::try_from(waiting(client).await?)?;
            if dead < letters || (letters == 0 && dead > 0) {
                left.push(format!("{dead} letters wait, not {letters}"));
            }
            let open = checks::open_tasks(client).await?;
            if open > 0 {
                left.push(format!("{open} tasks are open"));
            }
            for instance in self.rig.instances() {
                if status(&format!("{}/readyz", self.rig.url(instance))).await != Some(200) {
                    left.push(format!("{instance} is not ready"));
                }
            }
            if left.is_empty() || begin.elapsed() > self.drain {
                return Ok(left);
            }
            sleep(POLL).await;
        }
    }
}

async fn waiting(client: &Client) -> Result<i64> {
    let sql = "SELECT count(*) FROM dead_letters WHERE state = 'waiting'";
    Ok(client.query_one(sql, &[]).await?.get(0))
}

/// Letters whose reason is not the one that was provoked.
async fn unexpected(client: &Client) -> Result<Vec<String>> {
    let sql = "SELECT topic, reason, count(*) FROM dead_letters WHERE state = 'waiting' \
        AND (topic <> 'task-results' OR reason NOT LIKE '%nobody asked this agent%') GROUP BY 1, 2";
    let rows = client.query(sql, &[]).await?;
    let told = |row: &tokio_postgres::Row| {
        let (topic, reason, count): (&str, &str, i64) = (row.get(0), row.get(1), row.get(2));
        format!("{count} letters of {topic}: {reason}")
    };
    Ok(rows.iter().map(told).collect())
}

/// All that wait, as somebody does it by hand: by the API of the event logger, which has the orchestrators send them.
async fn replay(logger: &str) -> Result<()> {
    let (http, letters) = (super::http(), format!("{logger}/api/v1/dead-letters"));
    let (mut ids, mut after) = (Vec::new(), String::new());
    loop {
        let page = http.get(format!("{letters}?state=waiting&limit=200{after}")).send().await?.error_for_status()?;
        let page: Value = page.json().await?;
        let found = page["letters"].as_array().context("a page of dead letters has none")?;
        ids.extend(found.iter().filter_map(|letter| letter["id"].as_str().map(str::to_owned)));
        let Some(next) = page["next"].as_str() else { break };
        after = format!("&after={next}");
    }
    // A letter that goes with another one of the same message is refused, since that was replayed; one that is refused
    // for another reason still waits, and is told by that.
    for ids in ids.chunks(AT_ONCE) {
        let asked = http.post(format!("{letters}/replay")).json(&json!({ "ids": ids })).send().await?;
        asked.error_for_status()?;
    }
    Ok(())
}
