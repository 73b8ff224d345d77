//! What the event logger does beside taking messages: readiness, gauges, upkeep.

use std::time::Duration;

use axum::http::StatusCode;
use mesh_six_db::{events::EventLog, partitions};
use mesh_six_testing::{TestDatabase, wait_until};
use metrics_exporter_prometheus::PrometheusBuilder;
use serde_json::json;

use crate::{
    ask,
    rig::{Rig, Service, TOKEN},
};

/// The one letter that the test brings about.
const WAITING: &str = "mesh_six_dead_letters_waiting{app=\"event-logger\",topic=\"task-progress\"} 1";
const PATIENCE: Duration = Duration::from_secs(30);

#[tokio::test]
async fn missing_partitions_are_made_at_the_start() {
    let database = TestDatabase::new().await;
    let db = database.database().await;
    let months = partitions::list(&mut db.conn().await.unwrap()).await.unwrap();
    let last = months.iter().rfind(|p| !p.is_default).unwrap().name.clone();
    database.client().await.batch_execute(&format!("DROP TABLE {last}")).await.unwrap();
    let log = EventLog::start(db.clone());
    let service = Service::start(&db, &log, TOKEN);
    wait_until(PATIENCE, async || {
        let now = partitions::list(&mut db.conn().await.unwrap()).await.unwrap();
        now.iter().map(|p| &p.name).eq(months.iter().map(|p| &p.name))
    })
    .await;
    service.stop().await;
}

#[tokio::test]
async fn it_is_ready_once_the_database_has_answered_and_tells_of_dead_letters() {
    let recorder = PrometheusBuilder::new().build_recorder();
    let _measured_here = metrics::set_default_local_recorder(&recorder);
    let rig = Rig::start().await;
    let first = ask::get(rig.router(), "/readyz").await;
    assert_eq!(first.status, StatusCode::SERVICE_UNAVAILABLE);
    insta::assert_json_snapshot!(first.json());
    wait_until(PATIENCE, async || ask::get(rig.router(), "/readyz").await.status == StatusCode::OK).await;

    assert_eq!(rig.deliver("/events/task-progress", &[json!("bad")]).await, ["BURIED"]);
    let shown = recorder.handle();
    wait_until(PATIENCE, async || shown.render().contains(WAITING)).await;
    let text = shown.render();
    for gauge in ["mesh_six_dead_letters_oldest_age_seconds", "mesh_six_events_default_partition_rows 0", "horizon"] {
        assert!(text.contains(gauge), "{gauge}: {text}");
    }
    rig.service.stop().await;
}
