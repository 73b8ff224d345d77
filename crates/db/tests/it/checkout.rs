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
    let url = test.app_url();
    let (login, server) = url.split_once('@').unwrap();
    let (server, database) = server.split_once('/').unwrap();
    let link = Link::start(server).await.unwrap();
    let db = Database::lazy(DbConfig::new(format!("{login}@{}/{database}", link.address()), "test")).unwrap();
    link.set(Flow::Silent);
    let error = db.conn().await.err().unwrap();
    assert!(matches!(error, DbError::Unavailable(_)), "{error}");
    // Nobody asks for it meanwhile.
    link.set(Flow::Through);
    wait_until(Duration::from_secs(10), async || db.usage() == (0, 1)).await;
    db.ping().await.unwrap();
    assert_eq!(db.usage(), (0, 1));
}
