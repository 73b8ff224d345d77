//! The migrator.

use std::fs;

use diesel_async::{
    AsyncConnection, AsyncPgConnection, SimpleAsyncConnection, async_connection_wrapper::AsyncConnectionWrapper,
};
use diesel_migrations::{FileBasedMigrations, MigrationHarness};
use mesh_six_db::{
    Database, DbConfig, DbError,
    migrate::{self, MigrateError},
};
use mesh_six_testing::TestDatabase;
use tokio_postgres::Client;

/// Empties the database: as it is before the first migration.
async fn empty(database: &TestDatabase) -> Client {
    let client = database.client().await;
    let fresh = "DROP OWNED BY mesh_six_app; DROP SCHEMA public CASCADE; CREATE SCHEMA public";
    client.batch_execute(fresh).await.unwrap();
    client
}

async fn tables(client: &Client) -> Vec<String> {
    let query = "SELECT relname::text FROM pg_class WHERE relnamespace = 'public'::regnamespace ORDER BY 1";
    client.query(query, &[]).await.unwrap().iter().map(|row| row.get(0)).collect()
}

/// Of two with one version the second would be taken for done.
#[test]
fn m1_10_each_migration_has_a_version_of_its_own() {
    let folder = fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../../migrations")).unwrap();
    let names = folder.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut versions: Vec<String> = names.map(|name| name.split('_').next().unwrap().to_owned()).collect();
    let count = versions.len();
    versions.sort();
    versions.dedup();
    assert_eq!(versions.len(), count, "{versions:?}");
}

#[tokio::test]
async fn m1_10_an_empty_database_comes_to_the_newest_schema_and_a_second_run_changes_nothing() {
    let database = TestDatabase::new().await;
    let expected = tables(&database.client().await).await;
    let client = empty(&database).await;
    let status = migrate::status(database.url()).await.unwrap();
    assert!(status.len() >= 2 && status.iter().all(|m| !m.applied));
    let lazy = Database::lazy(DbConfig::new(database.url(), "test")).unwrap();
    assert!(migrate::check(&lazy).await.is_err_and(|e| e.to_string().contains("mesh-six migrate")));

    assert_eq!(migrate::run(database.url()).await.unwrap().len(), status.len());
    assert_eq!(tables(&client).await, expected);
    assert_eq!(migrate::run(database.url()).await.unwrap(), Vec::<String>::new());
    assert!(migrate::status(database.url()).await.unwrap().iter().all(|m| m.applied));
    migrate::check(&lazy).await.unwrap();
}

#[tokio::test]
async fn m1_10_two_migrators_at_once_change_the_schema_once() {
    let database = TestDatabase::new().await;
    let expected = tables(&database.client().await).await;
    let client = empty(&database).await;
    let url = database.url();
    let (one, two, three) = tokio::join!(migrate::run(url), migrate::run(url), migrate::run(url));
    let mut applied = [one.unwrap().len(), two.unwrap().len(), three.unwrap().len()];
    applied.sort_unstable();
    assert_eq!(applied[..2], [0, 0]);
    assert!(applied[2] >= 2);
    assert_eq!(tables(&client).await, expected);
}

#[tokio::test]
async fn m1_10_a_broken_migration_rolls_back_whole() {
    let database = TestDatabase::new().await;
    let before = tables(&database.client().await).await;
    let folder = tempfile::tempdir().unwrap();
    for (name, up) in [
        ("2099-01-01-000001_good", "CREATE TABLE of_the_good_one (a int);"),
        ("2099-01-01-000002_bad", "CREATE TABLE of_the_bad_one (a int); SELECT 1 / 0;"),
    ] {
        fs::create_dir(folder.path().join(name)).unwrap();
        fs::write(folder.path().join(name).join("up.sql"), up).unwrap();
        fs::write(folder.path().join(name).join("down.sql"), "SELECT 1;").unwrap();
    }
    let migrations = FileBasedMigrations::from_path(folder.path()).unwrap();
    let conn = AsyncPgConnection::establish(database.url()).await.unwrap();
    let failed = tokio::task::spawn_blocking(move || {
        let mut harness = AsyncConnectionWrapper::<AsyncPgConnection>::from(conn);
        harness.run_pending_migrations(migrations).map(|v| v.len()).map_err(|e| e.to_string())
    });
    let error = failed.await.unwrap().unwrap_err();
    assert!(error.contains("division by zero"), "{error}");
    let after = tables(&database.client().await).await;
    assert!(!after.contains(&"of_the_bad_one".to_owned()), "nothing of the broken one is left");
    let mut expected = before;
    expected.push("of_the_good_one".to_owned());
    expected.sort();
    assert_eq!(after, expected);
    assert!(migrate::status(database.url()).await.unwrap().iter().all(|m| m.applied), "the rest is untouched");
}

#[tokio::test]
async fn a_log_with_rows_is_not_reverted_an_empty_one_is() {
    let database = TestDatabase::new().await;
    let client = database.client().await;
    let row = "INSERT INTO mesh_six_events (occurred_at, id, trace_id, agent_id, event_type, payload) \
        VALUES (now(), gen_random_uuid(), gen_random_uuid(), 'a', 'test.event', '{}')";
    client.batch_execute(row).await.unwrap();
    let all = migrate::status(database.url()).await.unwrap().len();
    let refused = migrate::revert_last(database.url()).await;
    assert!(matches!(refused, Err(MigrateError::Refused(e)) if e.contains("is not reverted")));
    let count = client.query_one("SELECT count(*) FROM mesh_six_events", &[]).await.unwrap();
    assert_eq!(count.get::<_, i64>(0), 1);

    // An empty one leaves nothing behind.
    let mut conn = AsyncPgConnection::establish(database.url()).await.unwrap();
    conn.batch_execute("SET session_replication_role = replica; DELETE FROM mesh_six_events")
        .await
        .map_err(DbError::from)
        .unwrap();
    for _ in 0..all {
        migrate::revert_last(database.url()).await.unwrap();
    }
    assert_eq!(tables(&client).await, ["__diesel_schema_migrations", "__diesel_schema_migrations_pkey"]);
    assert_eq!(migrate::run(database.url()).await.unwrap().len(), all);
}
