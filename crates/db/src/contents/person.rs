//! A person's tasks, and the person's name in them.

use diesel::sql_types::Uuid as SqlUuid;
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use uuid::Uuid;

use super::blank;
use crate::{
    error::DbResult,
    statement::{Statement, Value},
};

/// The tasks of `user`.
pub(super) async fn tasks_of(conn: &mut AsyncPgConnection, user: &str) -> DbResult<Vec<Uuid>> {
    let query = Statement::<(SqlUuid,)>::new(
        "SELECT task_id FROM orchestrator_tasks WHERE coalesce(user_id, payload ->> 'userId', requested_by) = ",
    );
    ids(conn, query.bind(Value::Text(user)).sql(" ORDER BY task_id")).await
}

/// The tasks of others that `user` asked for.
pub(super) async fn asked_by(conn: &mut AsyncPgConnection, user: &str) -> DbResult<Vec<Uuid>> {
    let query = Statement::<(SqlUuid,)>::new("SELECT task_id FROM orchestrator_tasks WHERE requested_by = ");
    ids(conn, query.bind(Value::Text(user)).sql(" ORDER BY task_id")).await
}

async fn ids(conn: &mut AsyncPgConnection, query: Statement<'_, (SqlUuid,)>) -> DbResult<Vec<Uuid>> {
    let tasks: Vec<(Uuid,)> = query.load(conn).await?;
    Ok(tasks.into_iter().map(|(task,)| task).collect())
}

/// Removes whose `tasks` are, who asked for them, and the clients' keys, which may be made of a name. Afterwards a
/// client that uses such a key again gets a new task.
pub(super) async fn forget(conn: &mut AsyncPgConnection, tasks: &[Uuid]) -> DbResult<()> {
    let task =
        "UPDATE orchestrator_tasks SET user_id = NULL, requested_by = 'erased', client_key = NULL WHERE task_id = ANY(";
    let request = "UPDATE agent_inbox SET request = (request - 'userId') || '{\"requestedBy\": \"erased\"}' \
        WHERE task_id = ANY(";
    on(conn, task, tasks).await?;
    on(conn, request, tasks).await?;
    Ok(())
}

/// Removes who asked for `tasks`; all else of them is somebody else's. Returns how many tasks that are.
pub(super) async fn forget_who_asked(conn: &mut AsyncPgConnection, tasks: &[Uuid]) -> DbResult<usize> {
    let request = "UPDATE agent_inbox SET request = request || '{\"requestedBy\": \"erased\"}' WHERE task_id = ANY(";
    let message = "UPDATE outbox SET payload = payload || '{\"requestedBy\": \"erased\"}' \
        WHERE payload ? 'requestedBy' AND task_id = ANY(";
    let task = "UPDATE orchestrator_tasks SET requested_by = 'erased', client_key = NULL WHERE task_id = ANY(";
    on(conn, request, tasks).await?;
    on(conn, message, tasks).await?;
    on(conn, task, tasks).await
}

/// Runs an update that ends with the list of tasks.
async fn on(conn: &mut AsyncPgConnection, update: &'static str, tasks: &[Uuid]) -> DbResult<usize> {
    Ok(Statement::<()>::new(update).bind(Value::Ids(tasks.to_vec())).sql(")").execute(conn).await?)
}

/// Blanks the dead letters that name `user`, as the mesh writes requests; their tasks may be long gone.
pub(super) async fn forget_in_letters(conn: &mut AsyncPgConnection, user: &str) -> DbResult<usize> {
    let query = Statement::<()>::new(blank::LETTERS).sql(" FROM (SELECT to_json(");
    let query = query.bind(Value::Text(user)).sql(
        ")::text AS name) person WHERE envelope <> '' \
         AND (position(convert_to('\"userId\":' || name, 'UTF8') IN envelope) > 0 \
            OR position(convert_to('\"requestedBy\":' || name, 'UTF8') IN envelope) > 0)",
    );
    Ok(query.execute(conn).await?)
}
