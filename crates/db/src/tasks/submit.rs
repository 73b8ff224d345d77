//! Accepting a task: the row, its first attempt, its events and its messages, in as few round trips as it takes,
//! since a caller waits for it.

use chrono::{DateTime, Utc};
use diesel::{OptionalExtension, sql_types::Timestamptz};
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl};
use mesh_six_core::{event::catalogue, names};

use super::{
    change::{encoded, outgoing},
    model::{Assignment, NewTask, Task},
    query::by_client_key,
};
use crate::{
    error::{DbError, DbResult},
    events::append_in,
    outbox::{self, Claimant, Outgoing},
    statement::{JsonText, Statement, Value},
};

/// What became of a submission.
#[derive(Clone, Debug, PartialEq)]
pub enum Submitted {
    /// The task is new; its messages are for the relay.
    Accepted(Vec<Outgoing>),
    /// The same `Idempotency-Key` was used before, for the same task.
    Known(Box<Task>),
}

/// Accepts `task` and begins its first attempt. Where its `Idempotency-Key` was used before: the task of then,
/// or a conflict if that one was a different one.
pub async fn submit(
    conn: &mut AsyncPgConnection,
    task: &NewTask,
    to: &Assignment,
    claimant: Claimant,
) -> DbResult<Submitted> {
    conn.transaction::<_, DbError, _>(async |conn| {
        let Some(now) = insert(conn, task, to).await? else {
            // The key's first transaction has committed, or the insert would still wait for it.
            let known = by_client_key(conn, task).await?;
            return known.map(|t| Submitted::Known(Box::new(t))).ok_or(DbError::Locked);
        };
        let request = task.request(now);
        let dispatched = catalogue::task_dispatched(&request, &to.agent, &to.scores, now);
        let trace = Some(task.traceparent.as_str());
        let messages = vec![
            outgoing(task.id, names::task_topic(&to.agent), encoded(&request)?, Some(1), trace, now),
            outgoing(task.id, names::TASK_EVENTS.to_owned(), encoded(&dispatched)?, None, trace, now),
        ];
        append_in(conn, &[catalogue::task_submitted(&request), dispatched]).await?;
        outbox::put(conn, &messages, claimant).await?;
        Ok(Submitted::Accepted(messages))
    })
    .await
}

/// Writes task and attempt and returns the time of both; `None` if the `Idempotency-Key` was used before.
async fn insert(conn: &mut AsyncPgConnection, task: &NewTask, to: &Assignment) -> DbResult<Option<DateTime<Utc>>> {
    let payload = encoded(&task.payload)?.to_string();
    Ok(Statement::<(Timestamptz,)>::new(
        "WITH task AS (INSERT INTO orchestrator_tasks (status, attempts, dispatched_at, created_at, updated_at, \
            task_id, client_key, capability, payload, priority, requested_by, user_id, trace_id, traceparent, \
            dispatched_to, tried_agents, score, max_attempts, timeout_seconds, deadline_at) \
        VALUES ('dispatched', 1, now(), now(), now(), ",
    )
    .bind(Value::Id(task.id))
    .sql(", ")
    .bind(Value::OptionalText(task.client_key.as_deref()))
    .sql(", ")
    .bind(Value::Text(&task.capability))
    .sql(", ")
    .bind(Value::Document(JsonText(&payload)))
    .sql(", ")
    .bind(Value::Int(task.priority))
    .sql(", ")
    .bind(Value::Text(&task.requested_by))
    .sql(", ")
    .bind(Value::OptionalText(task.user_id.as_deref()))
    .sql(", ")
    .bind(Value::Id(task.trace_id.as_uuid()))
    .sql(", ")
    .bind(Value::Text(&task.traceparent))
    .sql(", ")
    .bind(Value::Text(&to.agent))
    .sql(", ")
    .bind(Value::Texts(vec![&to.agent]))
    .sql(", ")
    .bind(Value::Float(to.score))
    .sql(", ")
    .bind(Value::Int(names::MAX_ATTEMPTS))
    .sql(", ")
    .bind(Value::Int(task.timeout))
    .sql(", now() + ")
    .bind(Value::Int(task.timeout))
    .sql(
        " * interval '1 s') ON CONFLICT (client_key) DO NOTHING \
            RETURNING task_id, dispatched_to, created_at, deadline_at), \
        attempt AS (INSERT INTO task_attempts (task_id, attempt, agent_id, dispatched_at, deadline_at) \
            SELECT task_id, 1, dispatched_to, created_at, deadline_at FROM task) \
        SELECT created_at FROM task",
    )
    .get_result::<(DateTime<Utc>,)>(conn)
    .await
    .optional()?
    .map(|(now,)| now))
}
