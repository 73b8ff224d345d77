//! A writer's own connection. It speaks tokio-postgres directly: what is sent a thousand times a second is bound
//! straight into the message, and the server's error codes tell what to do.

use std::{collections::HashMap, time::Duration};

use tokio_postgres::{
    Client, Error, Row,
    types::{ToSql, Type},
};

use crate::{
    error::{DbError, DbResult},
    pool::Database,
    statement::Statement,
};

/// How the session is set up. The lock outlives what the session does: whoever gets it afterwards knows that the
/// session is over and what became of its last statement.
const SETUP: &str = "SET statement_timeout = '6s'; SET plan_cache_mode = force_generic_plan; ";
/// How long the end of an earlier session is waited for.
const END_PATIENCE: &str = "3s";

/// A connection with the statements that it has prepared.
pub(crate) struct Session {
    client: Client,
    prepared: HashMap<String, tokio_postgres::Statement>,
    /// The lock timeout that is set.
    wait: Option<Duration>,
    /// Of its own lock.
    lock: i64,
}

impl Session {
    /// Connects.
    pub(crate) async fn open(db: &Database) -> DbResult<Self> {
        let client = db.client().await?;
        let lock = fastrand::i64(..);
        client.batch_execute(&format!("{SETUP} SELECT pg_advisory_lock({lock})")).await?;
        Ok(Self { client, prepared: HashMap::new(), wait: None, lock })
    }

    /// The number of the lock that is held as long as this session lives.
    pub(crate) fn lock(&self) -> i64 {
        self.lock
    }

    /// Waits, bounded, until the session that held `lock` has ended on the server.
    pub(crate) async fn outlive(&mut self, lock: i64) -> DbResult<()> {
        self.wait = None;
        let wait = format!(
            "SET lock_timeout = '{END_PATIENCE}'; SELECT pg_advisory_lock({lock}); SELECT pg_advisory_unlock({lock})"
        );
        match self.client.batch_execute(&wait).await.map_err(DbError::from) {
            Err(DbError::Locked) => Err(DbError::Unavailable("an earlier connection has not ended".to_owned())),
            done => done,
        }
    }

    /// How long statements wait for other people's locks from now on.
    pub(crate) async fn wait_for_locks(&mut self, wait: Duration) -> DbResult<()> {
        if self.wait != Some(wait) {
            self.client.batch_execute(&format!("SET lock_timeout = {}", wait.as_millis())).await?;
            self.wait = Some(wait);
        }
        Ok(())
    }

    /// Runs text without values, such as BEGIN.
    pub(crate) async fn run(&self, sql: &str) -> DbResult<()> {
        Ok(self.client.batch_execute(sql).await?)
    }

    /// The rows of a statement, which is prepared when it comes for the first time.
    pub(crate) async fn rows<R>(&mut self, statement: &Statement<'_, R>) -> Result<Vec<Row>, Error> {
        let (text, values) = statement.parts();
        let prepared = if let Some(prepared) = self.prepared.get(&text) {
            prepared.clone()
        } else {
            let types: Vec<Type> = values.iter().map(|value| value.kind()).collect();
            let prepared = self.client.prepare_typed(&text, &types).await?;
            self.prepared.entry(text).or_insert(prepared).clone()
        };
        let values: Vec<&(dyn ToSql + Sync)> = values.into_iter().map(|value| value as _).collect();
        self.client.query(&prepared, &values).await
    }
}
