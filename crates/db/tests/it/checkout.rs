//! Connections that take longer to be made than a caller waits.

use std::time::Duration;

use mesh_six_db::{Database, DbConfig, DbError};
use mesh_six_testing::{
    TestDatabase,
    launch::{Flow, Link},
    wait_until,
};

/// Thrown away, they would be begun anew by each caller and never come about where the machine is busy.
#[tokio::test]
async fn a_connection_that_comes_too_late_for_its_caller_is_there_for_the_next() {
    let test = TestDatabase::new().await;
    let (link, config) = through_a_link(&test).await;
    let db = Database::lazy(config).unwrap();
    link.set(Flow::Silent);
    let error = db.conn().await.err().unwrap();
    assert!(matches!(error, DbError::Unavailable(_)), "{error}");
    // Nobody asks for it meanwhile.
    link.set(Flow::Through);
    wait_until(Duration::from_secs(10), async || db.usage() == (0, 1)).await;
    db.ping().await.unwrap();
    assert_eq!(db.usage(), (0, 1));
}

/// A service that starts beside many others is not told that the database is away.
#[tokio::test]
async fn who_starts_waits_longer_for_its_first_connection_than_a_caller_does() {
    let test = TestDatabase::new().await;
    let (link, config) = through_a_link(&test).await;
    link.set(Flow::Silent);
    let starting = tokio::spawn(Database::connect(config.clone()));
    tokio::task::yield_now().await;
    // A caller who began to wait after it has given up by now.
    let error = Database::lazy(config).unwrap().conn().await.err().unwrap();
    assert!(matches!(error, DbError::Unavailable(_)), "{error}");
    link.set(Flow::Through);
    starting.await.unwrap().unwrap();
}

/// A way to the database that can be held up, and what to connect with.
async fn through_a_link(test: &TestDatabase) -> (Link, DbConfig) {
    let url = test.app_url();
    let (login, server) = url.split_once('@').unwrap();
    let (server, database) = server.split_once('/').unwrap();
    let link = Link::start(server).await.unwrap();
    let config = DbConfig::new(format!("{login}@{}/{database}", link.address()), "test");
    (link, config)
}
