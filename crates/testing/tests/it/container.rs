//! Where a Docker engine answers: PostgreSQL in a container. Ignored unless asked for by name, since every other test
//! runs on one shared server; `cargo xtask test` brings an engine and an image and asks for it.

#[tokio::test]
#[ignore = "needs a Docker engine; run by cargo xtask test"]
async fn testcontainers_boots_postgresql_and_migrates_it() -> anyhow::Result<()> {
    let url = mesh_six_testing::start_container().await?;
    let applied = mesh_six_db::migrate::run(&url).await?;
    anyhow::ensure!(!applied.is_empty(), "nothing was migrated");
    let database = mesh_six_db::Database::connect(mesh_six_db::DbConfig::new(&url, "testcontainers")).await?;
    database.ping().await?;
    Ok(())
}
