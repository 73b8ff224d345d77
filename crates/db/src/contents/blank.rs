//! Blanking what a task leaves behind. What is left must still be readable, so the fields go, not the whole values.

use diesel_async::{AsyncPgConnection, RunQueryDsl};
use uuid::Uuid;

use super::Erased;
use crate::{
    error::DbResult,
    statement::{Statement, Value},
};

/// Empties dead letters; those that wait can only be discarded then. A condition follows.
pub(super) const LETTERS: &str = "UPDATE dead_letters SET envelope = '', \
    state = CASE state WHEN 'waiting' THEN 'discarded' ELSE state END, \
    decided_at = CASE state WHEN 'waiting' THEN now() ELSE decided_at END";

/// Inputs, answers, failures and messages of `tasks`, and what events kept of them.
pub(super) async fn tasks(conn: &mut AsyncPgConnection, tasks: &[Uuid], erased: &mut Erased) -> DbResult<()> {
    let mut run = async |sql: &'static str, tail: &'static str| -> DbResult<usize> {
        Ok(Statement::<()>::new(sql).bind(Value::Ids(tasks.to_vec())).sql(tail).execute(conn).await?)
    };
    erased.contents += run("DELETE FROM event_contents WHERE task_id = ANY(", ")").await?;
    erased.tasks += run(
        "UPDATE orchestrator_tasks SET payload = '{}', \
         result = CASE WHEN jsonb_typeof(result) = 'object' AND result ? 'resultHash' \
            THEN (result - 'result') || CASE WHEN jsonb_typeof(result -> 'error') = 'object' \
                THEN jsonb_build_object('error', (result -> 'error') || '{\"message\": \"erased\"}') ELSE '{}' END END, \
         error = CASE WHEN jsonb_typeof(error) = 'object' THEN error || '{\"message\": \"erased\"}' END \
         WHERE task_id = ANY(",
        ")",
    )
    .await?;
    erased.inbox += run(
        "UPDATE agent_inbox SET request = request || '{\"payload\": {}}', \
         result = (result - 'result') || CASE WHEN jsonb_typeof(result -> 'error') = 'object' \
            THEN jsonb_build_object('error', (result -> 'error') || '{\"message\": \"erased\"}') ELSE '{}' END \
         WHERE task_id = ANY(",
        ")",
    )
    .await?;
    erased.outbox +=
        run("UPDATE outbox SET payload = '{}', sent_at = coalesce(sent_at, now()) WHERE task_id = ANY(", ")").await?;
    let letters = Statement::<()>::new(LETTERS).sql(" WHERE envelope <> '' AND EXISTS (SELECT FROM unnest(");
    let letters = letters.bind(Value::Ids(tasks.to_vec()));
    erased.dead_letters +=
        letters.sql(") task WHERE position(convert_to(task::text, 'UTF8') IN envelope) > 0)").execute(conn).await?;
    Ok(())
}
