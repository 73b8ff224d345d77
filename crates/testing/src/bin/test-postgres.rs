//! One PostgreSQL server for a whole run of tests: prints its URL, ends when its standard input closes.

use std::io::{self, Read};

use mesh_six_db::server::{PostgresServer, ServerConfig};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let folder = mesh_six_testing::temporary_folder()?;
    let settings = mesh_six_testing::SHARED_SETTINGS.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let config = ServerConfig { settings: settings.into(), throwaway: true, ..ServerConfig::new(folder.path()) };
    let mut server = PostgresServer::start(config).await?;
    println!("{}", server.url_of("postgres"));
    let mut nothing = Vec::new();
    tokio::task::spawn_blocking(move || io::stdin().read_to_end(&mut nothing)).await??;
    server.stop().await;
    Ok(())
}
