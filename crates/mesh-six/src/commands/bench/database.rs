//! Databases that are thrown away: on the server that is named, else on a private one.

use std::path::PathBuf;

use anyhow::Context;
use mesh_six_core::id::new_id;
use mesh_six_db::{
    migrate, pool,
    server::{PostgresServer, ServerConfig},
};
use mesh_six_runtime::{Env, ProcessEnv};
use tokio::sync::Mutex;
use tokio_postgres::Client;

use crate::exit::Exit;

/// Where the bench is at work.
pub(super) struct Ground {
    url: String,
    private: Option<(PostgresServer, Folder)>,
    made: Mutex<Vec<String>>,
}

/// Removed with this value, so also when the bench is interrupted while its server starts.
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

impl Ground {
    /// Finds or starts the server.
    pub(super) async fn prepare() -> anyhow::Result<Self> {
        let named = ["DATABASE_DIRECT_URL", "DATABASE_URL", "PG_PRIMARY_URL"].iter().find_map(|v| ProcessEnv.get(v));
        let (url, private) = if let Some(url) = named {
            (url, None)
        } else {
            let (server, folder) = start().await?;
            (server.url(), Some((server, folder)))
        };
        Ok(Self { url, private, made: Mutex::default() })
    }

    /// Whether the server is our own.
    pub(super) fn is_private(&self) -> bool {
        self.private.is_some()
    }

    /// Makes a database with our schema; returns its URL for the owner.
    pub(super) async fn database(&self) -> anyhow::Result<String> {
        let name = format!("mesh_six_bench_{}", new_id().simple());
        let client = connect(&self.url).await?;
        self.made.lock().await.push(name.clone());
        client.batch_execute(&format!("CREATE DATABASE {name}")).await.context("cannot make a database to bench in")?;
        let url = with_database(&self.url, &name);
        migrate::run(&url).await?;
        Ok(url)
    }

    /// Drops what was made and ends the private server.
    pub(super) async fn clear(self) -> anyhow::Result<()> {
        if let Some((mut server, folder)) = self.private {
            server.stop().await;
            drop(server);
            return match std::fs::remove_dir_all(&folder.0) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
                _ => Ok(()),
            };
        }
        let client = connect(&self.url).await?;
        for name in self.made.into_inner() {
            let drop = format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)");
            client.batch_execute(&drop).await.with_context(|| format!("database {name} is left over"))?;
        }
        Ok(())
    }
}

/// A connection, driven in the background until the client is dropped; by TLS where the URL asks for it.
pub(super) async fn connect(url: &str) -> anyhow::Result<Client> {
    pool::client(url).await.map_err(Exit::database)
}

/// A server with the settings of a small real one: durable in every commit, and with room for the WAL of a run, so
/// that no checkpoint falls into one side of a comparison.
async fn start() -> anyhow::Result<(PostgresServer, Folder)> {
    let folder = Folder(std::env::temp_dir().join(format!("mesh-six-bench-{}", new_id().simple())));
    let settings = [
        ("fsync", "on"),
        ("synchronous_commit", "on"),
        ("shared_buffers", "256MB"),
        ("max_wal_size", "8GB"),
        ("min_wal_size", "2GB"),
        ("checkpoint_timeout", "30min"),
        ("max_connections", "200"),
    ];
    let settings = settings.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
    let config = ServerConfig { settings, throwaway: true, ..ServerConfig::new(&folder.0) };
    let server = PostgresServer::start(config).await?;
    age(&server.url()).await.context("cannot prepare the WAL")?;
    Ok((server, folder))
}

/// Files of the WAL that are there before anything is timed.
const SEGMENTS: usize = 100;

/// Gives the server files of the WAL to write into again, as one has that has run for a while. A new one makes each
/// when it needs it: a tenth of the time of a batch, and more of it for who writes more.
async fn age(url: &str) -> anyhow::Result<()> {
    let client = connect(url).await?;
    let used = "SELECT pg_logical_emit_message(false, '', ''); SELECT pg_switch_wal();";
    client.batch_execute(&used.repeat(SEGMENTS)).await?;
    settle(url).await
}

/// Writes out what is still to be written. What follows then measures no checkpoint that the work before it has brought
/// about; only who may do anything on the server may ask for one.
pub(super) async fn settle(url: &str) -> anyhow::Result<()> {
    Ok(connect(url).await?.batch_execute("CHECKPOINT").await?)
}

/// `url` with another database.
fn with_database(url: &str, name: &str) -> String {
    let (base, parameters) = url.split_once('?').map_or((url, None), |(base, rest)| (base, Some(rest)));
    let authority = base.find("://").map_or(0, |at| at + 3);
    let end = base[authority..].find('/').map_or(base.len(), |at| authority + at);
    let parameters = parameters.map(|p| format!("?{p}")).unwrap_or_default();
    format!("{}/{name}{parameters}", &base[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_database_of_the_same_server() {
        for (url, other) in [
            ("postgres://me:pw@host:5432/mesh", "postgres://me:pw@host:5432/x"),
            ("postgres://host", "postgres://host/x"),
            ("postgres://host/mesh?sslmode=disable", "postgres://host/x?sslmode=disable"),
        ] {
            assert_eq!(with_database(url, "x"), other);
        }
    }
}
