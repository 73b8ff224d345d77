//! The PostgreSQL server that the test databases of this process live on.

use std::{env, io::Write, sync::OnceLock};

use anyhow::Context;
use mesh_six_db::server::{PostgresServer, ServerConfig};

use crate::{container, folder::temporary_folder, template::Template, url};

/// Settings of a server that many tests share: room for all of them, and no syncing of data that nobody keeps.
pub const SHARED_SETTINGS: [(&str, &str); 3] =
    [("max_connections", "300"), ("fsync", "off"), ("full_page_writes", "off")];

/// The server of this process: its URL, and what keeps it alive.
pub(crate) struct Source {
    /// URL of the owner on the server's maintenance database.
    pub(crate) admin_url: String,
    pub(crate) template: Template,
    /// Ends with the process: statics are not dropped, but the pipe to its watcher closes.
    _server: Option<PostgresServer>,
}

/// Chosen once a process, in this order: `TEST_DATABASE_URL`, a container, PostgreSQL found on the machine.
pub(crate) fn source() -> &'static Source {
    static SOURCE: OnceLock<Result<Source, String>> = OnceLock::new();
    let chosen = SOURCE.get_or_init(|| on_own_runtime(choose()).map_err(|error| format!("{error:#}")));
    chosen.as_ref().unwrap_or_else(|error| panic!("no PostgreSQL for the tests: {error}"))
}

async fn choose() -> anyhow::Result<Source> {
    if let Ok(url) = env::var("TEST_DATABASE_URL") {
        announce(&format!("TEST_DATABASE_URL, {}", url::printable(&url)));
        return Source::new(url, None).await;
    }
    if container::engine_answers() {
        announce(&format!("a container of {}", container::image()));
        let url = container::start().await.context(
            "a Docker engine answers, but the container did not start; \
             give an image by MESH_SIX_TEST_IMAGE, or a server by TEST_DATABASE_URL",
        )?;
        return Source::new(url, None).await;
    }
    let folder = temporary_folder()?.keep();
    let server = PostgresServer::start(ServerConfig {
        settings: SHARED_SETTINGS.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
        throwaway: true,
        ..ServerConfig::new(folder)
    })
    .await
    .context("neither TEST_DATABASE_URL nor a Docker engine")?;
    announce(&format!("PostgreSQL {} of this machine on port {}", server.version(), server.port()));
    Source::new(server.url_of("postgres"), Some(server)).await
}

impl Source {
    async fn new(admin_url: String, server: Option<PostgresServer>) -> anyhow::Result<Self> {
        let template = Template::prepare(&admin_url).await.context("cannot prepare the template database")?;
        Ok(Self { admin_url, template, _server: server })
    }
}

/// The choice is never silent: this goes past the test harness, which would swallow it.
fn announce(choice: &str) {
    let _ = writeln!(std::io::stderr(), "test databases: {choice}");
}

/// Each test has a runtime of its own, which ends with it, so what they share is made and dropped on another one.
pub(crate) fn on_own_runtime<T: Send>(work: impl Future<Output = anyhow::Result<T>> + Send) -> anyhow::Result<T> {
    std::thread::scope(|scope| {
        let runner = scope.spawn(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(work)
        });
        runner.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}
