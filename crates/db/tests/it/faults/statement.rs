//! Statements take longer than they may.

use std::time::Duration;

use mesh_six_db::{Database, DbConfig, events::EventLog};
use mesh_six_testing::TestServer;

use super::Load;

/// While `slow` has a row, every insert takes longer than the test waits.
const LINGER: &str = "CREATE TABLE slow (); \
    CREATE FUNCTION linger() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$ BEGIN \
    IF EXISTS (SELECT FROM slow) THEN PERFORM pg_sleep(600); END IF; RETURN NULL; END $$; \
    CREATE TRIGGER linger AFTER INSERT ON mesh_six_events FOR EACH STATEMENT EXECUTE FUNCTION linger()";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn statements_that_time_out_lose_and_double_nothing() {
    let server = TestServer::start().await;
    let client = server.client().await;
    client.batch_execute(LINGER).await.unwrap();
    let config = DbConfig {
        max_connections: 5,
        statement_timeout: Duration::from_millis(300),
        ..DbConfig::new(server.app_url().await, "timeout")
    };
    let log = EventLog::start(Database::connect(config).await.unwrap());
    let load = Load::start(std::slice::from_ref(&log), 8, 2, 10);
    load.goes_on(50).await;
    client.batch_execute("INSERT INTO slow DEFAULT VALUES").await.unwrap();
    load.fails(8).await;
    client.batch_execute("DELETE FROM slow").await.unwrap();
    load.goes_on(50).await;
    load.ends_whole(&client, &server.database().await).await;
    log.close().await;
}
