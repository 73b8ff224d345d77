//! What the database says of a task, and services of themselves.

use mesh_six_core::task::TaskRequest;
use mesh_six_testing::{rig::Rig, wait_for, wait_until};
use tokio_postgres::Client;

use crate::support::{SOON, http};

/// An attempt on record: its number, whose it was, and the kind of failure, if it failed.
pub(crate) type Attempted = (i32, String, Option<String>);

/// The lines of history of a task.
pub(crate) async fn history(sql: &Client, task: &str) -> Vec<Attempted> {
    let query = "SELECT attempt, agent_id, error_type, success FROM agent_task_history WHERE task_id::text = $1 \
        ORDER BY attempt, id";
    let rows = sql.query(query, &[&task]).await.unwrap();
    let attempted = |row: &tokio_postgres::Row| {
        let error: Option<String> = row.get(2);
        assert_eq!(error.is_none(), row.get::<_, bool>(3), "a failure has a reason, and nothing else has one");
        (row.get(0), row.get(1), error)
    };
    rows.iter().map(attempted).collect()
}

/// How the attempts of a task ended, in order.
pub(crate) async fn outcomes(sql: &Client, task: &str) -> Vec<(String, Option<String>)> {
    let query = "SELECT agent_id, outcome FROM task_attempts WHERE task_id::text = $1 ORDER BY attempt";
    sql.query(query, &[&task]).await.unwrap().iter().map(|row| (row.get(0), row.get(1))).collect()
}

/// The results of a task that were not accepted: whose they were said to be and why, by name.
pub(crate) async fn rejected(sql: &Client, task: &str) -> Vec<(String, String)> {
    let query = "SELECT payload->>'agentId', payload->>'reason' FROM mesh_six_events \
        WHERE task_id::text = $1 AND event_type = 'task.result.rejected' ORDER BY 1, 2";
    sql.query(query, &[&task]).await.unwrap().iter().map(|row| (row.get(0), row.get(1))).collect()
}

/// How many events of this kind a task has.
pub(crate) async fn events(sql: &Client, task: &str, kind: &str) -> i64 {
    let query = "SELECT count(*) FROM mesh_six_events WHERE task_id::text = $1 AND event_type = $2";
    sql.query_one(query, &[&task, &kind]).await.unwrap().get(0)
}

/// How often a task has ended.
pub(crate) async fn ends(sql: &Client, task: &str) -> i64 {
    let query = "SELECT count(*) FROM mesh_six_events WHERE task_id::text = $1 \
        AND event_type IN ('task.completed', 'task.failed', 'task.cancelled')";
    sql.query_one(query, &[&task]).await.unwrap().get(0)
}

/// The sum of an instance's counters of this name that have all these labels, each as `name="value"`.
pub(crate) async fn counted(rig: &Rig, instance: &str, metric: &str, labels: &[&str]) -> u64 {
    let text = http().get(format!("{}/metrics", rig.url(instance))).send().await.unwrap().text().await.unwrap();
    let lines = text.lines().filter_map(|line| line.strip_prefix(metric)?.rsplit_once(' '));
    let lines = lines.filter(|(rest, _)| rest.is_empty() || rest.starts_with('{'));
    lines
        .filter(|(rest, _)| labels.iter().all(|label| rest.contains(label)))
        .map(|(_, n)| n.parse::<u64>().unwrap())
        .sum()
}

/// Waits until an instance has answered `count` messages of a topic, or more.
pub(crate) async fn taken_in(rig: &Rig, instance: &str, topic: &str, count: u64) {
    let topic = format!("topic=\"{topic}\"");
    wait_until(SOON, async || counted(rig, instance, "mesh_six_messages_received_total", &[&topic]).await >= count)
        .await;
}

/// The request that an agent has in its inbox.
pub(crate) async fn request_of(sql: &Client, task: &str) -> TaskRequest {
    let query = "SELECT request::text FROM agent_inbox WHERE task_id::text = $1";
    wait_for(SOON, async || {
        let row = sql.query_opt(query, &[&task]).await.unwrap()?;
        serde_json::from_str(row.get(0)).ok()
    })
    .await
}
