//! A fresh, migrated database for one test.

use std::{
    sync::{
        atomic::{AtomicU32, Ordering},
        mpsc,
    },
    time::Duration,
};

use anyhow::Result;
use mesh_six_db::{Database, DbConfig};
use tokio_postgres::{Client, error::SqlState};

use crate::{
    source::{Source, on_own_runtime, source},
    template::{self, APP_LOGIN, TEST_PREFIX, connect},
    url,
};

/// Few, since many tests run at once on one server.
const POOL: usize = 5;
/// How long the end of a test waits for its database to be gone. What is left then goes a moment later, or, when the
/// process ends first, with the leftovers that the next run drops.
const PATIENCE: Duration = Duration::from_millis(500);

/// Tries to open a pool; each takes two seconds before it is given up.
const TRIES: u32 = 10;

/// A database of its own, copied from the migrated template and dropped at the end of the test.
pub struct TestDatabase {
    name: String,
    url: String,
    source: &'static Source,
}

impl TestDatabase {
    /// A fresh database. Fails the test if there is no PostgreSQL to be had.
    pub async fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let source = source();
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("{TEST_PREFIX}{}_{}_{count}", template::now(), std::process::id());
        if let Err(error) = create(source, &name).await {
            panic!("cannot make a test database: {error:#}");
        }
        let url = url::with_database(&source.admin_url, &name);
        Self { name, url, source }
    }

    /// URL for the owner, who may do anything.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// URL for a login that has the application's rights and no more.
    pub fn app_url(&self) -> String {
        url::with_login(&self.url, APP_LOGIN, APP_LOGIN)
    }

    /// Its name on the server.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A small pool with the application's rights.
    pub async fn database(&self) -> Database {
        database(&self.app_url()).await
    }

    /// A plain connection as the owner, for looking behind the scenes.
    pub async fn client(&self) -> Client {
        connect(&self.url).await.unwrap_or_else(|error| panic!("{error:#}"))
    }
}

impl Drop for TestDatabase {
    /// Waits only shortly. `DROP DATABASE` needs an answer of every process of the server, and one that is amid a login
    /// gives none; if it is this test's own login, it ends with the test's runtime, thus after this function.
    fn drop(&mut self) {
        let (admin_url, name) = (self.source.admin_url.clone(), self.name.clone());
        let (tell, told) = mpsc::channel();
        std::thread::spawn(move || {
            let dropped = on_own_runtime(async {
                let admin = connect(&admin_url).await?;
                Ok(admin.batch_execute(&format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)")).await?)
            });
            if let Err(error) = dropped {
                eprintln!("could not drop {name}: {error:#}");
            }
            let _ = tell.send(());
        });
        let _ = told.recv_timeout(PATIENCE);
    }
}

/// A small pool on this URL. A machine that is busy with other tests may need more than one try.
pub(crate) async fn database(url: &str) -> Database {
    let config = DbConfig { max_connections: POOL, ..DbConfig::new(url, "mesh-six-test") };
    let mut told = String::new();
    for _ in 0..TRIES {
        match Database::connect(config.clone()).await {
            Ok(database) => return database,
            Err(error) => told = error.to_string(),
        }
    }
    panic!("cannot open the test database: {told}")
}

async fn create(source: &Source, name: &str) -> Result<()> {
    let admin = connect(&source.admin_url).await?;
    let statement = format!("CREATE DATABASE {name} TEMPLATE {}", source.template.name);
    for _ in 0..5 {
        match admin.batch_execute(&statement).await {
            // Somebody looks at the template, such as the statistics of an idle server: not for long.
            Err(error) if error.code() == Some(&SqlState::OBJECT_IN_USE) => {
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
            done => return Ok(done?),
        }
    }
    Ok(admin.batch_execute(&statement).await?)
}
