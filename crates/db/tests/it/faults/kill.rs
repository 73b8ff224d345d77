//! PostgreSQL is killed with kill -9 and started again, three times, under load.

use mesh_six_db::events::EventLog;
use mesh_six_testing::TestServer;

use super::Load;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_killed_under_load_keeps_all_that_was_answered_and_nothing_twice() {
    let mut server = TestServer::start().await;
    let db = server.database().await;
    let log = EventLog::start(db.clone());
    let load = Load::start(std::slice::from_ref(&log), 16, 2, 10);
    for _ in 0..3 {
        load.goes_on(200).await;
        server.kill_nine();
        server.restart().await;
    }
    load.goes_on(50).await;
    load.ends_whole(&server.client().await, &db).await;
    log.close().await;
}
