//! Connections: one pool a process, each connection bounded in time and with the application's rights only.

use std::{sync::Arc, time::Duration};

use deadpool::managed::QueueMode;
use diesel::{ConnectionError, ConnectionResult};
use diesel_async::{
    AsyncPgConnection,
    pooled_connection::{
        AsyncDieselConnectionManager, ManagerConfig, RecyclingMethod,
        deadpool::{Object, Pool},
    },
};
use futures_util::FutureExt;
use tokio_postgres::{Client, Connection, Socket};

use crate::{
    checkout::{Gate, checkout, in_time},
    error::{DbError, DbResult, message},
    target::{Target, whereabouts},
    tls::Stream,
};

/// A pooled connection; dereferences to [`AsyncPgConnection`].
pub type Conn = Object<AsyncPgConnection>;

/// How long a caller waits for a free connection, and for a new one to be made.
const CHECKOUT: Duration = Duration::from_secs(2);

/// How long a plain connection may take to be made, and a process's first one: nobody is kept waiting by it, and on a
/// busy machine a handshake of three seconds is no reason to end.
const PLAIN: Duration = Duration::from_secs(10);

/// Where the database is and how many connections may be open.
#[derive(Clone)]
pub struct DbConfig {
    /// `postgres://` URL; may lead to a pooler in transaction mode.
    pub url: String,
    /// URL of the server itself, for LISTEN and migrations, where `url` leads to a pooler.
    pub direct_url: Option<String>,
    /// Most connections in the pool.
    pub max_connections: usize,
    /// Shown in `pg_stat_activity`.
    pub application_name: String,
    /// How long one statement may take; below a minute, since no write transaction may outlive one (events.md §4).
    pub statement_timeout: Duration,
}

impl DbConfig {
    /// Sixteen connections to `url`, 30 seconds a statement.
    pub fn new(url: impl Into<String>, application_name: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            direct_url: None,
            max_connections: 16,
            application_name: application_name.into(),
            statement_timeout: Duration::from_secs(30),
        }
    }

    /// The URL that leads to the server itself.
    pub fn direct(&self) -> &str {
        self.direct_url.as_deref().unwrap_or(&self.url)
    }
}

/// The database, for everyone in the process. Cheap to clone.
#[derive(Clone)]
pub struct Database {
    pool: Pool<AsyncPgConnection>,
    config: Arc<DbConfig>,
    /// Of the URL, and of the one past the pooler.
    target: Arc<Target>,
    direct: Arc<Target>,
}

impl Database {
    /// Opens the pool and makes sure that the server answers; waits at most ten seconds for the connection.
    pub async fn connect(config: DbConfig) -> DbResult<Self> {
        let database = Self::lazy(config)?;
        match database.answers(PLAIN).await {
            Err(DbError::Unavailable(why)) => {
                Err(DbError::Unavailable(format!("{}: {why}", whereabouts(&database.target.config))))
            }
            done => done.map(|()| database),
        }
    }

    /// Opens the pool without asking the server, which may come later.
    pub fn lazy(config: DbConfig) -> DbResult<Self> {
        let target = Arc::new(Target::parse(&config.url)?);
        let direct = Arc::new(Target::parse(config.direct())?);
        let mut manager = ManagerConfig::default();
        manager.recycling_method = RecyclingMethod::Fast;
        let (session, gate) =
            ((target.clone(), config.application_name.clone(), config.statement_timeout), Gate::new());
        manager.custom_setup = Box::new(move |_| {
            let ((target, name, patience), gate) = (session.clone(), gate.clone());
            async move { gate.pass(establish(&target, &name, patience)).await }.boxed()
        });
        let manager = AsyncDieselConnectionManager::new_with_config(config.url.clone(), manager);
        let pool = Pool::builder(manager)
            .max_size(config.max_connections)
            // The connection used last has the statements prepared and its pages at hand.
            .queue_mode(QueueMode::Lifo)
            .build()
            .map_err(|e| DbError::Unavailable(e.to_string()))?;
        Ok(Self { pool, config: Arc::new(config), target, direct })
    }

    /// A connection from the pool; waits at most two seconds.
    pub async fn conn(&self) -> DbResult<Conn> {
        checkout(&self.pool, CHECKOUT).await
    }

    /// A connection of one's own, outside the pool and past any pooler, for LISTEN.
    pub async fn dedicated(&self) -> DbResult<AsyncPgConnection> {
        let DbConfig { application_name, statement_timeout, .. } = &*self.config;
        in_time(establish(&self.direct, application_name, *statement_timeout), CHECKOUT).await
    }

    /// As [`Self::dedicated`], without diesel, for the log's writers. It ends with the client.
    pub(crate) async fn client(&self) -> DbResult<Client> {
        let DbConfig { application_name, statement_timeout, .. } = &*self.config;
        let connecting = session(&self.direct, application_name, *statement_timeout);
        let (client, connection) = in_time(connecting, CHECKOUT).await?;
        tokio::spawn(connection);
        Ok(client)
    }

    /// Asks the server for a sign of life.
    pub async fn ping(&self) -> DbResult<()> {
        self.answers(CHECKOUT).await
    }

    async fn answers(&self, patience: Duration) -> DbResult<()> {
        use diesel_async::RunQueryDsl;
        let mut conn = checkout(&self.pool, patience).await?;
        diesel::sql_query("SELECT 1").execute(&mut conn).await?;
        Ok(())
    }

    /// What it was opened with.
    pub fn config(&self) -> &DbConfig {
        &self.config
    }

    /// Connections in use and open.
    pub fn usage(&self) -> (usize, usize) {
        let status = self.pool.status();
        (status.size.saturating_sub(status.available), status.size)
    }

    /// Closes all idle connections and refuses new ones.
    pub fn close(&self) {
        self.pool.close();
    }
}

/// Session settings of every connection. No write transaction may outlive a minute (events.md §4), so both
/// time-outs are below it. A login that owns the tables (a laptop's) gives its rights up for the application's.
/// Asking for English messages needs a privilege in most places, so it is tried on its own and may fail.
const SESSION: &str = "SET timezone = 'UTC'; SET lock_timeout = '10s'; \
    SET idle_in_transaction_session_timeout = '30s'; \
    SELECT set_config('role', 'mesh_six_app', false) FROM pg_roles app, pg_roles me \
    WHERE app.rolname = 'mesh_six_app' AND me.rolname = session_user AND pg_has_role(me.oid, app.oid, 'MEMBER') \
    AND (me.rolsuper OR EXISTS (SELECT FROM pg_class t WHERE t.relname = 'mesh_six_events' AND t.relowner = me.oid))";

/// A connection and what drives it.
type Connected = (Client, Connection<Socket, Stream>);

/// A connection for diesel, set up.
async fn establish(target: &Target, name: &str, statement_timeout: Duration) -> ConnectionResult<AsyncPgConnection> {
    let (client, connection) = session(target, name, statement_timeout).await?;
    AsyncPgConnection::try_from_client_and_connection(client, connection).await
}

/// A connection, set up.
async fn session(target: &Target, name: &str, statement_timeout: Duration) -> ConnectionResult<Connected> {
    let mut config = target.config.clone();
    config.application_name(name).connect_timeout(CHECKOUT).keepalives_idle(Duration::from_secs(30));
    config.tcp_user_timeout(Duration::from_secs(30));
    begin(config.connect(target.tls.clone()).await.map_err(bad)?, statement_timeout).await
}

/// Makes the session what [`SESSION`] says.
async fn begin((client, mut connection): Connected, statement_timeout: Duration) -> ConnectionResult<Connected> {
    let session = async {
        let _ = client.simple_query("SET lc_messages = 'C'").await;
        client.batch_execute(&format!("SET statement_timeout = {}; {SESSION}", statement_timeout.as_millis())).await?;
        let known = "SELECT to_regprocedure('mesh_six_adopt_server()') IS NOT NULL";
        if client
            .simple_query(known)
            .await?
            .iter()
            .any(|m| matches!(m, tokio_postgres::SimpleQueryMessage::Row(r) if r.get(0) == Some("t")))
        {
            client.batch_execute("SELECT mesh_six_adopt_server()").await?;
        }
        Ok(())
    };
    // The connection must be driven while the session is set up; whoever gets it drives it afterwards.
    {
        let session = std::pin::pin!(session);
        match futures_util::future::select(session, &mut connection).await {
            futures_util::future::Either::Left((done, _)) => done.map_err(bad)?,
            futures_util::future::Either::Right((ended, _)) => {
                return Err(ended.map_or_else(bad, |()| ConnectionError::BadConnection("connection closed".to_owned())));
            }
        }
    }
    Ok((client, connection))
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn bad(error: tokio_postgres::Error) -> ConnectionError {
    ConnectionError::BadConnection(message(&error))
}

/// A connection with the rights of the login in `url`, without any of our settings. The error says where the server
/// is and what is wrong with it.
pub(crate) async fn plain(url: &str) -> DbResult<AsyncPgConnection> {
    let (client, connection) = without_settings(url).await?;
    let handed = AsyncPgConnection::try_from_client_and_connection(client, connection).await;
    handed.map_err(|e| DbError::Unavailable(e.to_string()))
}

/// The same without diesel, for what is compared with us. It ends with the client.
pub async fn client(url: &str) -> DbResult<Client> {
    let (client, connection) = without_settings(url).await?;
    tokio::spawn(connection);
    Ok(client)
}

async fn without_settings(url: &str) -> DbResult<Connected> {
    let Target { mut config, tls } = Target::parse(url)?;
    config.connect_timeout(PLAIN);
    let away = |e: tokio_postgres::Error| DbError::Unavailable(format!("{}: {}", whereabouts(&config), message(&e)));
    config.connect(tls).await.map_err(away)
}
