//! Accepting a task: the row, its first attempt, its events and its messages.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl};
use mesh_six_core::{event::catalogue, names, task::TaskStatus};
use serde_json::Value;

use super::{
    change::{deadline, encoded, outgoing},
    model::{Assignment, NewTask, Task},
    query::by_client_key,
};
use crate::{
    clock,
    error::{DbError, DbResult},
    events::append_in,
    outbox::{self, Claimant, Outgoing},
    schema::{orchestrator_tasks as tasks, task_attempts as attempts},
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
        let now = clock::now(conn).await?;
        if insert(conn, task, to, now).await? == 0 {
            // The key's first transaction has committed, or the insert would still wait for it.
            let known = by_client_key(conn, task).await?;
            return known.map(|t| Submitted::Known(Box::new(t))).ok_or(DbError::Locked);
        }
        diesel::insert_into(attempts::table)
            .values((
                attempts::task_id.eq(task.id),
                attempts::attempt.eq(1),
                attempts::agent_id.eq(&to.agent),
                attempts::dispatched_at.eq(now),
                attempts::deadline_at.eq(deadline(now, task.timeout)),
            ))
            .execute(conn)
            .await?;
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

async fn insert(conn: &mut AsyncPgConnection, task: &NewTask, to: &Assignment, now: DateTime<Utc>) -> DbResult<usize> {
    Ok(diesel::insert_into(tasks::table)
        .values((
            tasks::task_id.eq(task.id),
            tasks::client_key.eq(task.client_key.as_deref()),
            tasks::capability.eq(&task.capability),
            tasks::payload.eq(Value::Object(task.payload.clone())),
            tasks::priority.eq(task.priority),
            tasks::timeout_seconds.eq(task.timeout),
            tasks::requested_by.eq(&task.requested_by),
            tasks::user_id.eq(task.user_id.as_deref()),
            tasks::trace_id.eq(task.trace_id.as_uuid()),
            tasks::traceparent.eq(Some(&task.traceparent)),
            tasks::status.eq(TaskStatus::Dispatched.as_str()),
            tasks::dispatched_to.eq(Some(&to.agent)),
            tasks::dispatched_at.eq(Some(now)),
            tasks::score.eq(Some(to.score)),
            tasks::attempts.eq(1),
            tasks::max_attempts.eq(names::MAX_ATTEMPTS),
            tasks::tried_agents.eq(vec![to.agent.as_str()]),
            tasks::deadline_at.eq(Some(deadline(now, task.timeout))),
            tasks::created_at.eq(now),
            tasks::updated_at.eq(now),
        ))
        .on_conflict(tasks::client_key)
        .do_nothing()
        .execute(conn)
        .await?)
}
