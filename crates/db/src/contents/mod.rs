//! Erasure of content: what people wrote and models answered goes, the log and its chain stay whole (events.md §5).
//!
//! Rows and hashes are kept, so that what is left still tells that something was there. Whose a task is stands in
//! `user_id`, else in the input's `userId`, else in `requested_by`, as for the agents. Erasing by user also removes
//! these names and the keys that clients made up. The log has a name only where `requestedBy` of a task was one
//! (`task.submitted`), and there it stays: whoever is asked to forget gives people as `userId`.

mod blank;
mod person;

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
    /// Of all tasks of one user, and what events kept of that user. Also the user's name, wherever a task has it.
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
    /// Tasks of others that the user had asked for: only the name goes.
    pub names: usize,
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
    match subject {
        Subject::Event(event) => {
            let gone = Statement::<()>::new("DELETE FROM event_contents WHERE event_id = ").bind(Value::Id(*event));
            erased.contents = gone.execute(conn).await?;
        }
        Subject::Task(task) => {
            refuse_open(conn, &[*task]).await?;
            blank::tasks(conn, &[*task], &mut erased).await?;
        }
        Subject::User(user) => {
            let gone = Statement::<()>::new("DELETE FROM event_contents WHERE user_id = ").bind(Value::Text(user));
            erased.contents = gone.execute(conn).await?;
            for tasks in person::tasks_of(conn, user).await?.chunks(CHUNK) {
                refuse_open(conn, tasks).await?;
                blank::tasks(conn, tasks, &mut erased).await?;
                person::forget(conn, tasks).await?;
            }
            for tasks in person::asked_by(conn, user).await?.chunks(CHUNK) {
                refuse_open(conn, tasks).await?;
                erased.names += person::forget_who_asked(conn, tasks).await?;
            }
            erased.dead_letters += person::forget_in_letters(conn, user).await?;
        }
    }
    Ok(erased)
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
