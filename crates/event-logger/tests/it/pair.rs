//! Two event loggers at once, as two replicas are: each fact once, one chain.

use std::time::Duration;

use mesh_six_core::names::{TASK_EVENTS, TASK_PROGRESS, TASK_RESULTS};
use mesh_six_db::{
    events::EventLog,
    seals::{self, VerifyOptions},
};
use mesh_six_event_logger::EventLoggerConfig;
use mesh_six_testing::{
    TestServer,
    samples::{AGENT, dispatched, envelope, message, note, request, result},
    wait_until,
};
use serde_json::{Value, json};

use crate::{
    ask,
    rig::{Service, TOKEN, fill_inbox},
};

const PATIENCE: Duration = Duration::from_mins(1);
const TASKS: usize = 120;
/// Messages of one delivery.
const BATCH: usize = 20;

async fn deliver(service: &Service, route: &str, messages: &[Value]) {
    for part in messages.chunks(BATCH) {
        let answer = ask::post(&service.router, route, TOKEN, ask::bulk(part)).await;
        assert!(ask::statuses(&answer).iter().all(|status| status == "SUCCESS"), "{}", answer.text);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_event_loggers_and_their_sealers_make_one_row_a_fact_and_one_chain() {
    let server = TestServer::start().await;
    let config = EventLoggerConfig { seal_every: Duration::from_millis(5), seal_max_rows: 20 };
    let mut pair = Vec::new();
    for _ in 0..2 {
        let db = server.database().await;
        let log = EventLog::start(db.clone());
        pair.push((Service::with_config(&db, &log, TOKEN, config), db));
    }
    let requests: Vec<_> = (0..TASKS).map(|_| request()).collect();
    let results: Vec<_> = requests.iter().map(result).collect();
    let client = server.client().await;
    fill_inbox(&client, &results, true).await;
    let facts = |source: &str, topic: &str, data: Vec<Value>| -> Vec<Value> {
        data.into_iter().map(|data| envelope(source, message(topic, data))).collect()
    };
    let dispatches = facts("orchestrator", TASK_EVENTS, requests.iter().map(|r| json!(dispatched(r))).collect());
    let notes = facts(AGENT, TASK_PROGRESS, requests.iter().map(|r| json!(note(r, "started"))).collect());
    let answers = facts(AGENT, TASK_RESULTS, results.iter().map(|r| json!(r)).collect());
    let routes =
        [("/events/task-events", &dispatches), ("/events/task-progress", &notes), ("/events/task-results", &answers)];
    // Each replica gets every message, at the same time.
    let all = pair.iter().flat_map(|(service, _)| routes.map(|(route, messages)| deliver(service, route, messages)));
    futures_util::future::join_all(all).await;

    let expected = i64::try_from(3 * TASKS).unwrap();
    let rows = "SELECT count(*), count(DISTINCT idempotency_key) FROM mesh_six_events";
    let rows = client.query_one(rows, &[]).await.unwrap();
    assert_eq!((rows.get::<_, i64>(0), rows.get::<_, i64>(1)), (expected, expected));
    let db = &pair[0].1;
    wait_until(PATIENCE, async || {
        let report = seals::verify(db, VerifyOptions::default(), |_| {}).await.unwrap();
        assert!(report.is_intact(), "{report:?}");
        report.rows == expected
    })
    .await;
    for (service, _) in pair {
        service.stop().await;
    }
}
