//! How the database is set up and how much was done with it.

use std::{collections::BTreeMap, fmt};

use anyhow::Context;
use serde::Serialize;
use tokio_postgres::Client;

/// The server's settings that such figures depend on.
const READ: [&str; 8] = [
    "server_version",
    "fsync",
    "synchronous_commit",
    "full_page_writes",
    "shared_buffers",
    "max_wal_size",
    "wal_level",
    "max_connections",
];

/// The server and the extent of the run.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Settings {
    quick: bool,
    /// Private and thrown away, or one that was named.
    server: &'static str,
    postgres: BTreeMap<&'static str, String>,
    /// Rows in the log that was appended to, at the end.
    pub(super) appended_rows: i64,
    /// Rows in each of the two logs that were queried.
    pub(super) queried_rows: i64,
    /// How long it all took, in seconds.
    pub(super) seconds: u64,
}

impl Settings {
    pub(super) async fn read(client: &Client, quick: bool, private: bool) -> anyhow::Result<Self> {
        let mut postgres = BTreeMap::new();
        for name in READ {
            let row = client.query_one("SELECT current_setting($1)", &[&name]).await.context("settings")?;
            postgres.insert(name, row.get(0));
        }
        let server = if private { "a private server, thrown away" } else { "the server of DATABASE_URL" };
        Ok(Self { quick, server, postgres, appended_rows: 0, queried_rows: 0, seconds: 0 })
    }
}

impl fmt::Display for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let postgres: Vec<String> = self.postgres.iter().map(|(name, value)| format!("{name} {value}")).collect();
        writeln!(f, "postgres {}; {}", self.server, postgres.join(", "))?;
        let Self { quick, appended_rows, queried_rows, seconds, .. } = self;
        let run = if *quick { "quick" } else { "full" };
        write!(f, "run      {run}, {seconds} s; rows appended {appended_rows}, queried {queried_rows}")
    }
}
