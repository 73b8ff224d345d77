//! Which database: the one that is named, else a private server in the data folder.

use std::path::PathBuf;

use mesh_six_core::ApiError;
use mesh_six_db::{
    Database, DbConfig, migrate,
    server::{PostgresServer, ServerConfig, ServerError, default_data_dir},
};
use mesh_six_runtime::{Env, ProcessEnv};
use tokio::sync::Mutex;

use crate::{cli::DatabaseArgs, exit::Exit};

/// A database that is ready to use.
pub(crate) struct MeshDatabase {
    owner_url: String,
    app_url: String,
    direct_url: Option<String>,
    private: Option<Mutex<PostgresServer>>,
    /// How the banner names it.
    pub(crate) described: String,
}

impl MeshDatabase {
    /// For migrations and upkeep.
    pub(crate) fn owner_url(&self) -> &str {
        &self.owner_url
    }

    /// For the services.
    pub(crate) fn app_url(&self) -> &str {
        &self.app_url
    }

    /// For LISTEN, where the services' URL leads to a pooler.
    pub(crate) fn direct_url(&self) -> Option<String> {
        self.direct_url.clone()
    }

    /// Starts the private server again if it has died; fails if that cannot be done. Does nothing for a database
    /// that is not ours.
    pub(crate) async fn keep_alive(&self) -> Result<(), ServerError> {
        let Some(private) = &self.private else { return Ok(()) };
        let mut server = private.lock().await;
        if !server.has_ended() {
            return Ok(());
        }
        tracing::warn!("the private PostgreSQL server has ended; starting it again");
        server.restart().await
    }

    /// Connections for the tool called `name`.
    pub(crate) async fn open(&self, name: &str) -> anyhow::Result<Database> {
        Database::connect(DbConfig::new(self.owner_url(), name)).await.map_err(Exit::database)
    }

    /// Stops the private server.
    pub(crate) async fn stop(self) {
        if let Some(server) = self.private {
            server.into_inner().stop().await;
        }
    }
}

/// `DATABASE_URL` or `PG_PRIMARY_URL`, with `DATABASE_DIRECT_URL` past a pooler.
fn named(env: &dyn Env) -> Option<(String, Option<String>)> {
    let url = env.get("DATABASE_URL").or_else(|| env.get("PG_PRIMARY_URL"))?;
    Some((url, env.get("DATABASE_DIRECT_URL")))
}

/// The database of `up`, migrated.
pub(crate) async fn for_up(data_dir: Option<PathBuf>) -> anyhow::Result<MeshDatabase> {
    if let Some((url, direct)) = named(&ProcessEnv) {
        let owner_url = direct.clone().unwrap_or_else(|| url.clone());
        migrate::run(&owner_url).await.map_err(|error| match error {
            migrate::MigrateError::Connect(_) => Exit::unreachable(format!("DATABASE_URL: {error}")),
            other => unusable(other),
        })?;
        let described = "PostgreSQL from DATABASE_URL".to_owned();
        return Ok(MeshDatabase { owner_url, app_url: url, direct_url: direct, private: None, described });
    }
    let server = start(data_dir).await?;
    let owner_url = server.url();
    migrate::run(&owner_url).await?;
    let app_url = server.create_app_login().await?;
    let major = server.version().split('.').next().unwrap_or_default().to_owned();
    let described = format!("PostgreSQL {major} in {}", tilde(server.data_dir()));
    Ok(MeshDatabase { owner_url, app_url, direct_url: None, private: Some(Mutex::new(server)), described })
}

/// The database where there is one to look at: named, or the private one of an `up` that runs.
pub(crate) fn running(args: &DatabaseArgs) -> Option<String> {
    let named = || named(&ProcessEnv).map(|(url, direct)| direct.unwrap_or(url));
    let private = || PostgresServer::running_url(&args.data_dir.clone().unwrap_or_else(default_data_dir));
    args.database_url.clone().or_else(named).or_else(private)
}

/// The database of `migrate` and `partitions`: named, or the private one, which `up` may have started already.
pub(crate) async fn for_tools(args: &DatabaseArgs) -> anyhow::Result<MeshDatabase> {
    let given = args.database_url.clone().or_else(|| named(&ProcessEnv).map(|(url, direct)| direct.unwrap_or(url)));
    let data_dir = args.data_dir.clone().unwrap_or_else(default_data_dir);
    let running = || PostgresServer::running_url(&data_dir);
    if let Some(url) = given.or_else(running) {
        return Ok(MeshDatabase {
            owner_url: url.clone(),
            app_url: url,
            direct_url: None,
            private: None,
            described: String::new(),
        });
    }
    if !data_dir.exists() {
        let message = format!(
            "no database: set DATABASE_URL, or start the mesh once with `mesh-six up`, which makes one in {}",
            data_dir.display()
        );
        return Err(ApiError::validation("DATABASE_URL", message).into());
    }
    private(data_dir).await
}

/// The database of `events import`, which comes before everything else: made and migrated where it is not there yet.
pub(crate) async fn for_import(args: &DatabaseArgs) -> anyhow::Result<MeshDatabase> {
    let named = args.database_url.is_some() || named(&ProcessEnv).is_some();
    let data_dir = args.data_dir.clone().unwrap_or_else(default_data_dir);
    let database = if named || data_dir.exists() { for_tools(args).await? } else { private(data_dir).await? };
    match migrate::run(database.owner_url()).await {
        Ok(_) => Ok(database),
        Err(error) => {
            database.stop().await;
            Err(unusable(error))
        }
    }
}

/// The private server of `data_dir`, started for a tool.
async fn private(data_dir: PathBuf) -> anyhow::Result<MeshDatabase> {
    let server = start(Some(data_dir)).await?;
    let url = server.url();
    Ok(MeshDatabase {
        owner_url: url.clone(),
        app_url: url,
        direct_url: None,
        private: Some(Mutex::new(server)),
        described: String::new(),
    })
}

/// Nobody answers, the URL is none, or the schema is not what it should be.
pub(crate) fn unusable(error: migrate::MigrateError) -> anyhow::Error {
    match error {
        migrate::MigrateError::Connect(_) => Exit::unreachable(error.to_string()),
        migrate::MigrateError::Url(error) => error.into(),
        migrate::MigrateError::Refused(_) | migrate::MigrateError::Failed(_) => error.into(),
    }
}

async fn start(data_dir: Option<PathBuf>) -> anyhow::Result<PostgresServer> {
    let data_dir = data_dir.unwrap_or_else(default_data_dir);
    let data_dir = std::path::absolute(data_dir)?;
    if data_dir.exists() && !data_dir.is_dir() {
        return Err(Exit::usage(format!("{} is not a folder: choose one with --data-dir", data_dir.display())));
    }
    let settings = vec![
        // A laptop's PostgreSQL must stay small beside everything else that runs there.
        ("shared_buffers".to_owned(), "64MB".to_owned()),
        ("max_connections".to_owned(), "50".to_owned()),
    ];
    Ok(PostgresServer::start(ServerConfig { settings, ..ServerConfig::new(data_dir) }).await?)
}

/// The path as a person writes it.
fn tilde(path: &std::path::Path) -> String {
    match std::env::home_dir().and_then(|home| path.strip_prefix(home).ok().map(ToOwned::to_owned)) {
        Some(rest) => format!("~/{}", rest.display()),
        None => path.display().to_string(),
    }
}
