//! Erasure of content: what people wrote and models answered goes, the log and its chain stay whole (events.md §5).
//!
//! Rows and hashes are kept, so that what is left still tells that something was there.

use diesel::sql_types::{BigInt, Nullable, Uuid as SqlUuid};
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl};
use mesh_six_core::{ApiError, ErrorType};
use serde::Serialize;
use uuid::Uuid;

use crate::{
    error::{DbError, DbResult},
    statement::{Statement, Value},
};

/// Tasks blanked by one statement.
const CHUNK: usize = 500;

/// Whose content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// Of one event: its content beside the log.
    Event(Uuid),
    /// Of one task: also its input, requests, answers and messages.
    Task(Uuid),
    /// Of all tasks of one user, and what events kept of that user.
    User(String),
}

/// How many rows were deleted (`contents`) or blanked (the others).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Erased {
    /// Contents of events.
    pub contents: usize,
    /// Tasks: input, answer, failure.
    pub tasks: usize,
    /// Requests and answers of agents.
    pub inbox: usize,
    /// Messages to be sent or sent; unsent ones count as sent from now on.
    pub outbox: usize,
    /// Messages that failed for good; they cannot be replayed any more.
    pub dead_letters: usize,
}

/// Erases the content of `subject` in one transaction; where `dry_run`, only counts. Refused while a task of it is
/// under way, since its agent would write content again.
pub async fn erase(conn: &mut AsyncPgConnection, subject: &Subject, dry_run: bool) -> DbResult<Erased> {
    let mut erased = Erased::default();
    let done = conn
        .transaction::<_, DbError, _>(async |conn| {
            erased = within(conn, subject).await?;
            // An error is the way to roll back.
            if dry_run { Err(diesel::result::Error::RollbackTransaction.into()) } else { Ok(()) }
        })
        .await;
    match done {
        Err(DbError::Query(diesel::result::Error::RollbackTransaction)) => Ok(erased),
        done => done.map(|()| erased),
    }
}

async fn within(conn: &mut AsyncPgConnection, subject: &Subject) -> DbResult<Erased> {
    let mut erased = Erased::default();
    let tasks = match subject {
        Subject::Event(event) => {
            let gone = Statement::<()>::new("DELETE FROM event_contents WHERE event_id = ").bind(Value::Id(*event));
            erased.contents = gone.execute(conn).await?;
            return Ok(erased);
        }
        Subject::Task(task) => vec![*task],
        Subject::User(user) => {
            let gone = Statement::<()>::new("DELETE FROM event_contents WHERE user_id = ").bind(Value::Text(user));
            erased.contents = gone.execute(conn).await?;
            tasks_of(conn, user).await?
        }
    };
    for tasks in tasks.chunks(CHUNK) {
        refuse_open(conn, tasks).await?;
        blank(conn, tasks, &mut erased).await?;
    }
    Ok(erased)
}

async fn tasks_of(conn: &mut AsyncPgConnection, user: &str) -> DbResult<Vec<Uuid>> {
    let query = Statement::<(SqlUuid,)>::new("SELECT task_id FROM orchestrator_tasks WHERE user_id = ");
    let tasks: Vec<(Uuid,)> = query.bind(Value::Text(user)).sql(" ORDER BY task_id").load(conn).await?;
    Ok(tasks.into_iter().map(|(task,)| task).collect())
}

async fn refuse_open(conn: &mut AsyncPgConnection, tasks: &[Uuid]) -> DbResult<()> {
    let open = Statement::<(BigInt, Nullable<SqlUuid>)>::new(
        "SELECT count(*), (array_agg(task_id))[1] FROM (SELECT task_id FROM orchestrator_tasks \
         WHERE status IN ('pending', 'dispatched') AND task_id = ANY(",
    );
    let open = open.bind(Value::Ids(tasks.to_vec())).sql(
        ") UNION SELECT task_id FROM agent_inbox WHERE state = 'running' AND lease_until > now() AND task_id = ANY(",
    );
    let (count, first): (i64, Option<Uuid>) =
        open.bind(Value::Ids(tasks.to_vec())).sql(")) open").get_result(conn).await?;
    let Some(first) = first else { return Ok(()) };
    let which = if count == 1 { format!("task {first} is") } else { format!("{count} tasks, such as {first}, are") };
    Err(ApiError::new(ErrorType::Conflict, format!("{which} still under way: wait, or cancel first")).into())
}

/// What is left must still be readable, so the fields go, not the whole values.
async fn blank(conn: &mut AsyncPgConnection, tasks: &[Uuid], erased: &mut Erased) -> DbResult<()> {
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
    erased.dead_letters += run(
        "UPDATE dead_letters SET envelope = '', state = CASE state WHEN 'waiting' THEN 'discarded' ELSE state END \
         WHERE envelope <> '' AND EXISTS (SELECT FROM unnest(",
        ") task WHERE position(convert_to(task::text, 'UTF8') IN envelope) > 0)",
    )
    .await?;
    Ok(())
}
