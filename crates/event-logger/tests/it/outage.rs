//! The database goes away and comes back: nothing is lost, nothing doubled.

use std::{sync::Arc, time::Duration};

use axum::http::StatusCode;
use mesh_six_core::names::{TASK_PROGRESS, TASK_RESULTS};
use mesh_six_db::events::EventLog;
use mesh_six_sidecar::{LocalMesh, MeshConfig, Message, Sidecar};
use mesh_six_testing::{
    TestServer,
    samples::{AGENT, envelope, message, note, request, result, with},
    wait_until,
};
use serde_json::json;
use tokio::time::{Instant, sleep_until, timeout};

use crate::{
    ask,
    rig::{Service, fill_inbox},
};

const MESSAGES: usize = 1_000;
/// Messages that one relay publishes together.
const BATCH: usize = 50;
const PATIENCE: Duration = Duration::from_mins(2);
/// How long the database stays away.
const OUTAGE: Duration = Duration::from_secs(10);

/// Publishes as the agents' relay does: again until the sidecar has taken each, and once more for good measure.
async fn relay(sidecar: Arc<dyn Sidecar>, messages: Vec<Message>) {
    for _ in 0..2 {
        let mut left = messages.clone();
        while !left.is_empty() {
            let answers = sidecar.publish_bulk(left.clone()).await;
            left = left.into_iter().zip(answers).filter(|(_, answer)| answer.is_err()).map(|(m, _)| m).collect();
        }
    }
}

async fn rows(server: &TestServer) -> (i64, i64) {
    let sql = "SELECT count(*), count(DISTINCT idempotency_key) FROM mesh_six_events";
    let row = server.client().await.query_one(sql, &[]).await.unwrap();
    (row.get(0), row.get(1))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn e_5_a_thousand_messages_twice_with_the_database_stopped_in_between_are_a_thousand_rows() {
    let mut server = TestServer::start().await;
    let db = server.database().await;
    let log = EventLog::start(db.clone());
    let mesh = LocalMesh::with_config(MeshConfig { publish_wait: Duration::from_secs(2), ..MeshConfig::default() });
    let service = Service::start(&db, &log, mesh.app_token());
    mesh.attach("event-logger", service.router.clone()).await.unwrap();
    let is_ready = async |status: StatusCode| ask::get(&service.router, "/readyz").await.status == status;
    wait_until(PATIENCE, async || is_ready(StatusCode::OK).await).await;

    let requests: Vec<_> = (0..MESSAGES / 2).map(|_| request()).collect();
    let results: Vec<_> = requests.iter().map(result).collect();
    fill_inbox(&server.client().await, &results, true).await;
    let messages: Vec<Message> = requests
        .iter()
        .zip(&results)
        .flat_map(|(request, result)| {
            [message(TASK_PROGRESS, json!(note(request, "finished"))), message(TASK_RESULTS, json!(result))]
        })
        .collect();
    let (before, during) = messages.split_at(MESSAGES / 3);
    let publish = |messages: &[Message]| {
        let relays = messages.chunks(BATCH).map(|part| relay(mesh.sidecar(AGENT), part.to_vec()));
        relays.map(tokio::spawn).collect::<Vec<_>>()
    };

    let mut relays = publish(before);
    wait_until(PATIENCE, async || rows(&server).await.0 > 50).await;
    server.stop().await;
    let back = Instant::now() + OUTAGE;
    relays.extend(publish(during));
    // Good or bad, nothing can be judged now: a message that is dropped needs its reason on record.
    let good = envelope(AGENT, messages[MESSAGES - 1].clone());
    let bad = with(good.clone(), "data", json!({}));
    for route in ["/events/task-results", "/events/task-progress"] {
        let body = ask::bulk(&[good.clone(), bad.clone()]);
        let answer = ask::post(&service.router, route, mesh.app_token(), body).await;
        assert_eq!(ask::statuses(&answer), ["RETRY"; 2], "{route}");
    }
    let away = ask::get(&service.router, "/api/v1/events").await;
    assert_eq!(away.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(away.headers.contains_key("retry-after"));
    insta::assert_json_snapshot!(away.json());
    wait_until(PATIENCE, async || is_ready(StatusCode::SERVICE_UNAVAILABLE).await).await;
    assert_eq!(ask::get(&service.router, "/healthz").await.status, StatusCode::OK, "it lives");

    sleep_until(back).await;
    server.restart().await;
    for relay in relays {
        timeout(PATIENCE, relay).await.unwrap().unwrap();
    }
    wait_until(PATIENCE, async || is_ready(StatusCode::OK).await).await;
    for relay in publish(&messages) {
        timeout(PATIENCE, relay).await.unwrap().unwrap();
    }
    let all = i64::try_from(MESSAGES).unwrap();
    assert_eq!(rows(&server).await, (all, all));
    let letters = server.client().await.query_one("SELECT count(*) FROM dead_letters", &[]).await.unwrap();
    assert_eq!(letters.get::<_, i64>(0), 0, "an outage kills no message");
    mesh.shutdown().await;
    service.stop().await;
}
