//! A server of one's own, for tests that stop it, kill it, or look at its horizon.

use mesh_six_db::{
    Database,
    server::{PostgresServer, ServerConfig},
};
use tempfile::TempDir;
use tokio_postgres::Client;

use crate::{database::database, folder::temporary_folder, template::connect};

/// A private server with one migrated database, on a port that it keeps across restarts. It always comes from the
/// PostgreSQL of this machine. Nothing else runs on it.
pub struct TestServer {
    // Ended before its folder is removed.
    server: PostgresServer,
    folder: TempDir,
}

impl TestServer {
    /// A running, migrated server. Fails the test if there is no PostgreSQL on the machine.
    pub async fn start() -> Self {
        Self::try_start().await.unwrap_or_else(|error| panic!("cannot start a PostgreSQL server: {error:#}"))
    }

    async fn try_start() -> anyhow::Result<Self> {
        let folder = temporary_folder()?;
        let config = ServerConfig { throwaway: true, ..ServerConfig::new(folder.path()) };
        let server = PostgresServer::start(config).await?;
        mesh_six_db::migrate::run(&server.url()).await?;
        server.create_app_login().await?;
        Ok(Self { server, folder })
    }

    /// A running server that keeps its data in `folder`.
    pub(crate) fn of(server: PostgresServer, folder: TempDir) -> Self {
        Self { server, folder }
    }

    /// Where it keeps everything: `postgres` is PostgreSQL's own, `postgres.log` what it says.
    pub fn folder(&self) -> &std::path::Path {
        self.folder.path()
    }

    /// URL for the owner; stays the same across restarts.
    pub fn url(&self) -> String {
        self.server.url()
    }

    /// URL for the login of the running services.
    pub async fn app_url(&self) -> String {
        self.server
            .create_app_login()
            .await
            .unwrap_or_else(|error| panic!("cannot make the application's login: {error}"))
    }

    /// A small pool with the application's rights.
    pub async fn database(&self) -> Database {
        database(&self.app_url().await).await
    }

    /// A plain connection as the owner.
    pub async fn client(&self) -> Client {
        connect(&self.url()).await.unwrap_or_else(|error| panic!("{error:#}"))
    }

    /// Fast shutdown: all connections are cut.
    pub async fn stop(&mut self) {
        self.server.stop().await;
    }

    /// Kills the server and all its processes, as a power cut would.
    pub fn kill_nine(&mut self) {
        self.server.kill_nine();
    }

    /// Starts the server again on the same port; it recovers by itself.
    pub async fn restart(&mut self) {
        if let Err(error) = self.server.restart().await {
            panic!("PostgreSQL did not start again in {}: {error}", self.folder.path().display());
        }
    }
}
