//! Migrations, embedded in the binary. They run as the owner, one migrator at a time.

use diesel::migration::{Migration, MigrationSource};
use diesel::pg::Pg;
use diesel_async::{AsyncPgConnection, RunQueryDsl, async_connection_wrapper::AsyncConnectionWrapper};
use diesel_migrations::{EmbeddedMigrations, MigrationHarness, embed_migrations};
use mesh_six_core::ApiError;
use serde::Serialize;

use crate::{
    error::{DbError, DbResult},
    pool::{self, Database},
};

const MIGRATIONS: EmbeddedMigrations = embed_migrations!("../../migrations");

/// Why the schema could not be changed.
#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    /// No connection, or the migrator's lock was not to be had.
    #[error("cannot use the database: {0}")]
    Connect(String),
    /// The URL is none, or asks for what cannot be had.
    #[error("{0}")]
    Url(ApiError),
    /// The schema is not taken back from under its data.
    #[error("{0}")]
    Refused(String),
    /// A migration failed and was rolled back whole.
    #[error("migration failed and was rolled back: {0}")]
    Failed(String),
}

/// One migration and whether the database has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct MigrationStatus {
    /// Version and name.
    pub name: String,
    /// Whether it is applied.
    pub applied: bool,
}

/// Brings the database at `url` (the server itself, no pooler; the owner's login) to the newest schema.
/// Returns the names of the migrations that were applied now. Safe to run twice and in parallel: the second
/// migrator waits for the first and finds nothing to do.
pub async fn run(url: &str) -> Result<Vec<String>, MigrateError> {
    locked(url, |conn| {
        let versions = conn.run_pending_migrations(MIGRATIONS).map_err(|e| MigrateError::Failed(e.to_string()))?;
        Ok(versions.iter().map(ToString::to_string).collect())
    })
    .await
}

/// Reverts the newest migration and returns its name; refused while the event log has rows.
pub async fn revert_last(url: &str) -> Result<String, MigrateError> {
    if has_events(url).await? {
        let refusal = "the event log has rows: a database with events is not reverted";
        return Err(MigrateError::Refused(refusal.to_owned()));
    }
    locked(url, |conn| {
        conn.revert_last_migration(MIGRATIONS).map(|v| v.to_string()).map_err(|e| MigrateError::Failed(e.to_string()))
    })
    .await
}

/// All migrations of this binary and whether the database has them; changes nothing.
pub async fn status(url: &str) -> Result<Vec<MigrationStatus>, MigrateError> {
    let applied = {
        let mut conn = pool::plain(url).await.map_err(connecting)?;
        applied(&mut conn).await.map_err(|e| MigrateError::Connect(e.to_string()))?
    };
    Ok(known()?
        .into_iter()
        .map(|(version, name)| MigrationStatus { applied: applied.contains(&version), name })
        .collect())
}

/// Refuses a database that lacks one of this binary's migrations.
pub async fn check(db: &Database) -> DbResult<()> {
    let mut conn = db.conn().await?;
    let applied = applied(&mut conn).await?;
    let known = known().map_err(|e| DbError::Unavailable(e.to_string()))?;
    match known.into_iter().find(|(version, _)| !applied.contains(version)) {
        None => Ok(()),
        Some((_, name)) => {
            Err(DbError::Unavailable(format!("migration {name} is not applied; run `mesh-six migrate`")))
        }
    }
}

fn connecting(error: DbError) -> MigrateError {
    match error {
        DbError::Refused(refusal) => MigrateError::Url(refusal),
        DbError::Unavailable(why) => MigrateError::Connect(why),
        other => MigrateError::Connect(other.to_string()),
    }
}

#[derive(diesel::QueryableByName)]
struct Known {
    #[diesel(sql_type = diesel::sql_types::Bool)]
    known: bool,
}

/// Whether the event log is there and has rows.
async fn has_events(url: &str) -> Result<bool, MigrateError> {
    let connect = |e: &dyn std::fmt::Display| MigrateError::Connect(e.to_string());
    let mut conn = pool::plain(url).await.map_err(connecting)?;
    for question in [
        "SELECT to_regclass('mesh_six_events') IS NOT NULL AS known",
        "SELECT EXISTS (SELECT FROM mesh_six_events) AS known",
    ] {
        let answer = diesel::sql_query(question).get_result::<Known>(&mut conn).await.map_err(|e| connect(&e))?;
        if !answer.known {
            return Ok(false);
        }
    }
    Ok(true)
}

#[derive(diesel::QueryableByName)]
struct Version {
    #[diesel(sql_type = diesel::sql_types::Text)]
    version: String,
}

async fn applied(conn: &mut AsyncPgConnection) -> Result<Vec<String>, DbError> {
    let table = diesel::sql_query("SELECT to_regclass('__diesel_schema_migrations') IS NOT NULL AS known");
    if !table.get_result::<Known>(conn).await?.known {
        return Ok(Vec::new());
    }
    let rows = diesel::sql_query("SELECT version::text AS version FROM __diesel_schema_migrations");
    Ok(rows.load::<Version>(conn).await?.into_iter().map(|v| v.version).collect())
}

/// Versions and names, oldest first.
fn known() -> Result<Vec<(String, String)>, MigrateError> {
    let migrations: Vec<Box<dyn Migration<Pg>>> =
        MIGRATIONS.migrations().map_err(|e| MigrateError::Failed(e.to_string()))?;
    let mut known: Vec<_> = migrations.iter().map(|m| (m.name().version().to_string(), m.name().to_string())).collect();
    known.sort();
    Ok(known)
}

/// Runs `work` on a connection that holds the migrator's lock. diesel's harness is blocking, so it gets a
/// thread of its own.
async fn locked<T: Send + 'static>(
    url: &str,
    work: impl FnOnce(&mut AsyncConnectionWrapper<AsyncPgConnection>) -> Result<T, MigrateError> + Send + 'static,
) -> Result<T, MigrateError> {
    let mut conn = pool::plain(url).await.map_err(connecting)?;
    diesel::sql_query("SELECT pg_advisory_lock(hashtextextended('mesh_six_migrate', 0))")
        .execute(&mut conn)
        .await
        .map_err(|e| MigrateError::Connect(e.to_string()))?;
    tokio::task::spawn_blocking(move || work(&mut AsyncConnectionWrapper::from(conn)))
        .await
        .map_err(|e| MigrateError::Failed(e.to_string()))?
}
