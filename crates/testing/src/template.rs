//! The migrated database that every test database is copied from; shared by all processes that use one server.

use std::{
    fs,
    hash::{DefaultHasher, Hash, Hasher},
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result};
use tokio_postgres::{Client, NoTls};

use crate::url;

/// A login with the application's rights and no more.
pub(crate) const APP_LOGIN: &str = "mesh_six_test_app";
/// Databases of tests are named after their birth, so that those that a killed run left can be told.
pub(crate) const TEST_PREFIX: &str = "mesh_six_test_";
const TEMPLATE_PREFIX: &str = "mesh_six_template_";
/// Older test databases than this belong to runs that were killed.
const TEST_LIFETIME: u64 = 2 * 3600;
/// Templates of other migrations stay this long after their last use, for other checkouts.
const TEMPLATE_LIFETIME: u64 = 24 * 3600;

pub(crate) struct Template {
    pub(crate) name: String,
}

impl Template {
    /// Makes the template, or finds the one that another process made of the same migrations.
    pub(crate) async fn prepare(admin_url: &str) -> Result<Self> {
        let template = Self { name: format!("{TEMPLATE_PREFIX}{}", fingerprint()?) };
        let admin = connect(admin_url).await?;
        admin.batch_execute("SELECT pg_advisory_lock(hashtextextended('mesh_six_test_template', 0))").await?;
        template.drop_leftovers(&admin).await?;
        if !exists(&admin, &template.name).await? {
            template.build(admin_url, &admin).await?;
        }
        let name = &template.name;
        admin.batch_execute(&format!("COMMENT ON DATABASE {name} IS '{}'", now())).await?;
        Ok(template)
    }

    /// Built under another name, so that a killed run never leaves half a template.
    async fn build(&self, admin_url: &str, admin: &Client) -> Result<()> {
        let name = &self.name;
        let aside = format!("{name}_new");
        admin.batch_execute(&format!("DROP DATABASE IF EXISTS {aside} WITH (FORCE)")).await?;
        admin.batch_execute(&format!("CREATE DATABASE {aside}")).await?;
        mesh_six_db::migrate::run(&url::with_database(admin_url, &aside)).await?;
        if admin.query_opt("SELECT FROM pg_roles WHERE rolname = $1", &[&APP_LOGIN]).await?.is_none() {
            admin.batch_execute(&format!("CREATE ROLE {APP_LOGIN} LOGIN PASSWORD '{APP_LOGIN}'")).await?;
        }
        admin.batch_execute(&format!("GRANT mesh_six_app TO {APP_LOGIN}")).await?;
        admin.batch_execute(&format!("ALTER DATABASE {aside} RENAME TO {name}")).await?;
        Ok(())
    }

    async fn drop_leftovers(&self, admin: &Client) -> Result<()> {
        let all = "SELECT datname::text, shobj_description(oid, 'pg_database') FROM pg_database";
        for row in admin.query(all, &[]).await? {
            let (name, comment): (String, Option<String>) = (row.get(0), row.get(1));
            let (seconds, lifetime) = if let Some(rest) = name.strip_prefix(TEST_PREFIX) {
                (rest.split('_').next().and_then(|born| born.parse().ok()), TEST_LIFETIME)
            } else if name.starts_with(TEMPLATE_PREFIX) && !name.starts_with(&self.name) {
                (comment.and_then(|used| used.parse().ok()), TEMPLATE_LIFETIME)
            } else {
                continue;
            };
            if seconds.unwrap_or(0) + lifetime < now() {
                admin.batch_execute(&format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)")).await?;
            }
        }
        Ok(())
    }
}

async fn exists(admin: &Client, name: &str) -> Result<bool> {
    Ok(admin.query_opt("SELECT FROM pg_database WHERE datname = $1", &[&name]).await?.is_some())
}

/// A plain connection; it ends when the client is dropped.
pub(crate) async fn connect(url: &str) -> Result<Client> {
    let (client, connection) = tokio_postgres::connect(url, NoTls)
        .await
        .with_context(|| format!("cannot connect to {}", crate::url::printable(url)))?;
    tokio::spawn(connection);
    Ok(client)
}

pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// Changes with every change of a migration, and each month, since the migrations make the current partitions.
fn fingerprint() -> Result<String> {
    let mut hasher = DefaultHasher::new();
    chrono::Utc::now().format("%Y-%m").to_string().hash(&mut hasher);
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../migrations");
    for file in sql_files(&folder).with_context(|| format!("cannot read {}", folder.display()))? {
        file.strip_prefix(&folder)?.hash(&mut hasher);
        fs::read(&file)?.hash(&mut hasher);
    }
    Ok(format!("{:016x}", hasher.finish()))
}

fn sql_files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            files.extend(sql_files(&path)?);
        } else if path.extension().is_some_and(|extension| extension == "sql") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}
