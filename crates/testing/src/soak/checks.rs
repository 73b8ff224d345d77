//! What must hold after all that, looked up in the database.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use anyhow::Result;
use chrono::{DateTime, Utc};
use tokio_postgres::Client;

use super::{
    faults::Outage,
    messages::{AGENT, Accepted, LONE, NOTES},
    tasks::{Run, Submitted, TaskLoad},
};

/// Most violations of a kind that are told one by one.
const TOLD: usize = 5;

/// The first of `all`, and how many more there are.
pub(super) fn told(all: impl IntoIterator<Item = String>) -> Vec<String> {
    let mut all = all.into_iter();
    let mut told: Vec<String> = all.by_ref().take(TOLD).collect();
    let more = all.count();
    if more > 0 {
        told.push(format!("and {more} more like it"));
    }
    told
}

/// How many of the rows under keys of the load there are.
pub(super) async fn rows_of_messages(client: &Client) -> Result<i64> {
    let row = client.query_one(&format!("SELECT count(*) FROM mesh_six_events WHERE {OF_LOAD}"), &[&WRITERS]).await?;
    Ok(row.get(0))
}

const WRITERS: &[&str] = &[NOTES, LONE, AGENT];
const OF_LOAD: &str = "agent_id = ANY($1) AND event_type IN ('task.progress', 'task.result')";

/// Each accepted message is a row, and each row an accepted message. How many rows there are, and what differs.
pub(super) async fn accepted_are_rows<'a>(
    client: &Client,
    accepted: impl IntoIterator<Item = &'a Accepted>,
) -> Result<(usize, Vec<String>)> {
    let sql = format!("SELECT coalesce(idempotency_key, 'no key') FROM mesh_six_events WHERE {OF_LOAD}");
    let rows: Vec<String> = client.query(&sql, &[&WRITERS]).await?.iter().map(|row| row.get(0)).collect();
    let there: HashSet<&str> = rows.iter().map(String::as_str).collect();
    let accepted: HashSet<&str> = accepted.into_iter().map(|message| message.key.as_str()).collect();
    let mut violations = told(accepted.difference(&there).map(|key| format!("{key} was accepted and is no row")));
    violations.extend(told(there.difference(&accepted).map(|key| format!("{key} is a row that nobody sent"))));
    Ok((rows.len(), violations))
}

/// Keys that the log has more than once.
pub(super) async fn keys_twice(client: &Client) -> Result<Vec<String>> {
    let sql = "SELECT idempotency_key, count(*) FROM mesh_six_events WHERE idempotency_key IS NOT NULL \
        GROUP BY 1 HAVING count(*) > 1";
    let rows = client.query(sql, &[]).await?;
    Ok(told(rows.iter().map(|row| format!("{} is there {} times", row.get::<_, &str>(0), row.get::<_, i64>(1)))))
}

/// Facts of a task in another order than that in which its orchestrator wrote them: accepted, attempts by number, end.
pub(super) async fn out_of_order(client: &Client) -> Result<Vec<String>> {
    let sql = "WITH facts AS (SELECT task_id, event_type, txid, seq, \
            CASE event_type WHEN 'task.submitted' THEN 0 WHEN 'task.dispatched' THEN (payload->>'attempt')::int ELSE 99 END \
                AS step \
            FROM mesh_six_events WHERE event_type IN ('task.submitted', 'task.dispatched', 'task.completed', 'task.failed', \
                'task.cancelled')), \
        followed AS (SELECT task_id, event_type, step, lag(step) OVER (PARTITION BY task_id ORDER BY txid, seq) AS before \
            FROM facts) \
        SELECT task_id::text, event_type FROM followed WHERE step <= before";
    let rows = client.query(sql, &[]).await?;
    Ok(told(rows.iter().map(|row| {
        let (task, event): (&str, &str) = (row.get(0), row.get(1));
        format!("task {task}: {event} comes after what it should come before")
    })))
}

/// A task as the database has it in the end.
struct TaskRow {
    client_key: String,
    status: String,
    attempts: i32,
    answered: bool,
    explained: bool,
    open_attempts: i64,
    ends: i64,
}

/// How the tasks ended.
#[derive(Debug, Default)]
pub(super) struct Ended {
    /// With an answer.
    pub(super) completed: usize,
    /// With a reason.
    pub(super) failed: usize,
    /// Attempts of all of them.
    pub(super) attempts: usize,
    /// The most attempts of one.
    pub(super) most_attempts: i32,
    /// What should not be.
    pub(super) violations: Vec<String>,
}

/// How many tasks have not ended yet.
pub(super) async fn open_tasks(client: &Client) -> Result<i64> {
    let row = client.query_one("SELECT count(*) FROM orchestrator_tasks WHERE ended_at IS NULL", &[]).await?;
    Ok(row.get(0))
}

/// Every accepted task has ended exactly once, with an answer or a reason, after at most three attempts.
pub(super) async fn tasks_ended(client: &Client, load: &TaskLoad, accepted: &[Submitted]) -> Result<Ended> {
    let sql = "SELECT task_id::text, client_key, status, attempts, result IS NOT NULL, error IS NOT NULL, \
            (SELECT count(*) FROM task_attempts a WHERE a.task_id = t.task_id AND a.outcome IS NULL), \
            (SELECT count(*) FROM mesh_six_events e WHERE e.task_id = t.task_id \
                AND e.event_type IN ('task.completed', 'task.failed', 'task.cancelled')) \
        FROM orchestrator_tasks t WHERE client_key LIKE $1 || ' %'";
    let mut found: BTreeMap<String, TaskRow> = BTreeMap::new();
    for row in client.query(sql, &[&load.name]).await? {
        let task = TaskRow {
            client_key: row.get(1),
            status: row.get(2),
            attempts: row.get(3),
            answered: row.get(4),
            explained: row.get(5),
            open_attempts: row.get(6),
            ends: row.get(7),
        };
        found.insert(row.get(0), task);
    }
    let mut ended = Ended::default();
    let mut wrong = Vec::new();
    let known: BTreeSet<&str> = accepted.iter().map(|task| task.task_id.as_str()).collect();
    let strangers = found.iter().filter(|(id, _)| !known.contains(id.as_str()));
    wrong.extend(
        strangers.map(|(id, task)| format!("task {id} ({}) was accepted, but nobody was told", task.client_key)),
    );
    for task in accepted {
        let Some(row) = found.get(&task.task_id) else {
            wrong.push(format!("task {} was accepted and is gone", task.task_id));
            continue;
        };
        ended.attempts += usize::try_from(row.attempts)?;
        ended.most_attempts = ended.most_attempts.max(row.attempts);
        let well = match row.status.as_str() {
            "completed" => row.answered,
            "failed" => row.explained,
            _ => false,
        };
        ended.completed += usize::from(well && row.answered);
        ended.failed += usize::from(well && !row.answered);
        if !well || row.ends != 1 || row.open_attempts != 0 || row.attempts > 3 {
            let TaskRow { status, attempts, ends, open_attempts, .. } = row;
            let id = &task.task_id;
            wrong.push(format!(
                "task {id}: {status}, {attempts} attempts, {open_attempts} of them open, {ends} ends on record"
            ));
        }
    }
    ended.violations = told(wrong);
    Ok(ended)
}

/// Runs of the model, by attempt.
#[derive(Debug, Default)]
pub(super) struct Runs {
    /// All.
    pub(super) count: usize,
    /// Attempts that ran it twice while the database was away in between, so that nobody could know.
    pub(super) without_database: usize,
    /// Attempts that ran it twice.
    pub(super) violations: Vec<String>,
}

/// An attempt that an agent was given, and when.
type Given = (i32, DateTime<Utc>);

/// Which attempt each run of the model belongs to, and whether any has two. A run is the last attempt's that its agent
/// had been given by then.
pub(super) async fn model_runs(
    client: &Client,
    load: &TaskLoad,
    accepted: &[Submitted],
    runs: &[Run],
    outages: &[Outage],
) -> Result<Runs> {
    let sql = "SELECT a.task_id::text, a.agent_id, a.attempt, a.dispatched_at FROM task_attempts a \
        JOIN orchestrator_tasks t USING (task_id) WHERE t.client_key LIKE $1 || ' %' ORDER BY a.attempt DESC";
    let mut attempts: HashMap<(String, String), Vec<Given>> = HashMap::new();
    for row in client.query(sql, &[&load.name]).await? {
        let since: std::time::SystemTime = row.get(3);
        attempts.entry((row.get(0), row.get(1))).or_default().push((row.get(2), since.into()));
    }
    let ids: HashMap<usize, &str> = accepted.iter().map(|task| (task.number, task.task_id.as_str())).collect();
    let mut seen = Runs::default();
    let mut by_attempt: BTreeMap<(&str, i32), Vec<DateTime<Utc>>> = BTreeMap::new();
    let mut wrong = Vec::new();
    for run in runs {
        let Some(number) = load.number(&run.query) else { continue };
        seen.count += 1;
        let task = ids.get(&number).copied().unwrap_or_default();
        let given = attempts.get(&(task.to_owned(), run.agent.clone()));
        match given.and_then(|given| given.iter().find(|(_, since)| *since <= run.at)) {
            Some((attempt, _)) => by_attempt.entry((task, *attempt)).or_default().push(run.at),
            None => wrong.push(format!("task {task}: {} ran the model without an attempt", run.agent)),
        }
    }
    for ((task, attempt), times) in by_attempt.iter_mut().filter(|(_, times)| times.len() > 1) {
        times.sort();
        let apart = |pair: &[DateTime<Utc>]| outages.iter().any(|away| away.from <= pair[1] && away.until >= pair[0]);
        if times.windows(2).all(apart) {
            seen.without_database += 1;
        } else {
            wrong.push(format!("task {task}, attempt {attempt}: {} runs of the model", times.len()));
        }
    }
    seen.violations = told(wrong);
    Ok(seen)
}

/// What is left undone: messages that nobody has sent, answers that nobody has taken.
pub(super) async fn left_over(client: &Client) -> Result<Vec<String>> {
    let mut left = Vec::new();
    for (what, sql) in [
        (
            "messages in the outbox",
            "SELECT count(*) FROM outbox o WHERE sent_at IS NULL AND (attempt IS NULL OR EXISTS (\
            SELECT FROM task_attempts a WHERE (a.task_id, a.attempt) = (o.task_id, o.attempt) AND a.outcome IS NULL))",
        ),
        ("answers that were not published", "SELECT count(*) FROM agent_inbox WHERE state = 'done'"),
        (
            "answers that were not taken over",
            "SELECT count(*) FROM agent_inbox WHERE result IS NOT NULL AND taken_at IS NULL",
        ),
    ] {
        let count: i64 = client.query_one(sql, &[]).await?.get(0);
        if count > 0 {
            left.push(format!("{count} {what}"));
        }
    }
    Ok(left)
}
