use mesh_six_testing::{TestDatabase, wait_until};
use std::time::Duration;

#[tokio::test]
async fn each_test_has_a_migrated_database_that_goes_away() {
    let (one, other) = tokio::join!(TestDatabase::new(), TestDatabase::new());
    assert_ne!(one.name(), other.name());
    let status = mesh_six_db::migrate::status(one.url()).await.unwrap();
    assert!(!status.is_empty() && status.iter().all(|migration| migration.applied), "{status:?}");
    one.database().await.ping().await.unwrap();

    let watching = other.client().await;
    let name = one.name().to_owned();
    drop(one);
    wait_until(Duration::from_secs(5), async || {
        let found = watching.query_opt("SELECT FROM pg_database WHERE datname = $1", &[&name]).await.unwrap();
        found.is_none()
    })
    .await;
}

#[tokio::test]
async fn the_application_login_cannot_change_the_log() {
    let database = TestDatabase::new().await;
    let (client, connection) = tokio_postgres::connect(&database.app_url(), tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    client.query("SELECT FROM mesh_six_events LIMIT 1", &[]).await.unwrap();
    let refused = client.execute("DELETE FROM mesh_six_events", &[]).await.unwrap_err();
    assert_eq!(refused.code(), Some(&tokio_postgres::error::SqlState::INSUFFICIENT_PRIVILEGE));
}
