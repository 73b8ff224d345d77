//! Two processes write and seal one log at once.

use std::time::Duration;

use mesh_six_db::{
    events::EventLog,
    seals::{self, SealOptions},
};
use mesh_six_testing::{TestServer, wait_until};
use tokio_util::sync::CancellationToken;

use super::Load;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_writing_processes_and_two_sealers_make_one_log_and_one_chain() {
    let server = TestServer::start().await;
    // They share nothing but the server, as two processes do.
    let databases = [server.database().await, server.database().await];
    let logs = databases.clone().map(EventLog::start);
    let ended = CancellationToken::new();
    let options = SealOptions { max_rows_per_seal: 50, ..SealOptions::default() };
    let sealers =
        databases.clone().map(|db| tokio::spawn(seals::run(db, options, Duration::from_millis(5), ended.clone())));
    let load = Load::start(&logs, 6, 2, 10);
    load.goes_on(600).await;
    // They seal while others write, not only at the end.
    let client = server.client().await;
    let seals =
        async || -> i64 { client.query_one("SELECT count(*) FROM mesh_six_event_seals", &[]).await.unwrap().get(0) };
    wait_until(Duration::from_mins(1), async || seals().await > 10).await;
    ended.cancel();
    for sealer in sealers {
        sealer.await.unwrap();
    }
    load.ends_whole(&client, &databases[0]).await;
    for log in logs {
        log.close().await;
    }
}
