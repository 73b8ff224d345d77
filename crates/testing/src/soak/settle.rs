//! After the last fault: waiting until everything has found its place, and replaying what became a dead letter.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use tokio::time::sleep;
use tokio_postgres::Client;

use super::{
    checks,
    messages::{Answers, Lane},
};
use crate::{
    launch::{AmqpPublisher, status},
    rig::Rig,
    template::connect,
};

const POLL: Duration = Duration::from_secs(1);
/// How long the broker may take to confirm a message that is replayed.
const CONFIRM: Duration = Duration::from_secs(10);

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
    replay(&client, settling.rig.broker_url()).await?;
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

/// Each message as it came, to the topic that it came from.
async fn replay(client: &Client, broker: &str) -> Result<()> {
    let mut publisher = AmqpPublisher::new(broker);
    let sql = "UPDATE dead_letters SET state = 'replayed' WHERE state = 'waiting' RETURNING topic, envelope";
    for row in client.query(sql, &[]).await? {
        let confirmed = publisher.publish(row.get(0), &[row.get(1)], CONFIRM).await;
        ensure!(confirmed == [true], "the broker did not take a letter that was replayed");
    }
    Ok(())
}
