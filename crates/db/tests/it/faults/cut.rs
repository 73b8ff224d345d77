//! Connections are cut in the middle of batches, and in the middle of answers.

use mesh_six_db::{Database, DbConfig, events::EventLog};
use mesh_six_testing::{CuttingProxy, TestServer, wait_until};

use super::{Load, SOON};

/// Each batch is larger than what most connections are let through.
const EVENTS: usize = 150;
const CUTS: usize = 60;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_cut_in_the_middle_of_batches_lose_and_double_nothing() {
    let server = TestServer::start().await;
    let proxy = CuttingProxy::start(&server.url(), 4).await;
    let config = DbConfig { max_connections: 5, ..DbConfig::new(proxy.url(&server.app_url().await), "cut") };
    let log = EventLog::start(Database::lazy(config).unwrap());
    let load = Load::start(std::slice::from_ref(&log), 4, EVENTS, 200);
    wait_until(SOON, async || proxy.cuts() >= CUTS).await;
    proxy.let_through();
    load.goes_on(20).await;
    load.ends_whole(&server.client().await, &server.database().await).await;
    log.close().await;
}
