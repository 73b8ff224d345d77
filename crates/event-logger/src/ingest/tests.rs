//! What a panic in a handler costs: its message, with the reason on record.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should fail there")]

use std::sync::Arc;

use async_trait::async_trait;
use axum::{
    body::{Body, to_bytes},
    http::Request,
};
use mesh_six_core::{TraceId, event::EventFilter, id::new_id, names::TASK_PROGRESS};
use mesh_six_db::{
    dead_letters::{self, LetterFilter},
    events::EventLog,
};
use mesh_six_sidecar::{BulkHandler, Delivery, Status, Subscription, subscription_router};
use mesh_six_testing::TestDatabase;
use serde_json::{Value, json};
use tower::ServiceExt;

use super::{Facts, Intake};

/// The real handler, but it cannot bear one word.
struct Touchy(Facts);

#[async_trait]
impl BulkHandler for Touchy {
    async fn handle(&self, deliveries: Vec<Delivery>) -> Vec<Status> {
        assert!(deliveries.iter().all(|d| d.event.data["status"] != "boom"), "it cannot bear this");
        self.0.handle(deliveries).await
    }

    async fn dropped(&self, delivery: &Delivery, reason: &str) -> Status {
        self.0.dropped(delivery, reason).await
    }
}

#[tokio::test]
async fn e_5_a_message_on_which_the_handler_panics_is_dropped_with_its_reason_and_the_others_are_stored() {
    let database = TestDatabase::new().await;
    let db = database.database().await;
    let log = EventLog::start(db.clone());
    let intake = Intake { db: db.clone(), log: log.clone(), app_id: "event-logger".to_owned() };
    let subscription = Subscription::bulk("p", TASK_PROGRESS, "/notes", 100, 20);
    let handler: Arc<dyn BulkHandler> = Arc::new(Touchy(Facts::of_progress(intake)));
    let router = subscription_router(vec![(subscription, handler)], None);

    let entries: Vec<Value> = ["a", "b", "boom", "c", "d"]
        .into_iter()
        .map(|status| {
            let note = json!({"taskId": new_id(), "agentId": "x", "traceId": TraceId::new(), "status": status});
            let time = mesh_six_core::time::format(mesh_six_core::time::now());
            let event = json!({"id": status, "source": "x", "type": "t", "time": time, "data": note});
            json!({"entryId": status, "event": event})
        })
        .collect();
    let body = json!({"id": "1", "entries": entries}).to_string();
    let answer = router.oneshot(Request::post("/notes").body(Body::from(body)).unwrap()).await.unwrap();
    let answer: Value = serde_json::from_slice(&to_bytes(answer.into_body(), 1 << 20).await.unwrap()).unwrap();
    let statuses: Vec<&str> =
        answer["statuses"].as_array().unwrap().iter().map(|s| s["status"].as_str().unwrap()).collect();
    assert_eq!(statuses, ["SUCCESS"; 5], "the sidecar has nothing to keep");
    assert_eq!(answer["statuses"][2]["buried"], true, "{answer}");

    let stored = log.query(&EventFilter::default()).await.unwrap();
    let stored: Vec<_> = stored.iter().map(|e| e.event.payload["status"].clone()).collect();
    assert_eq!(stored, ["a", "b", "c", "d"]);
    let all = LetterFilter { limit: 10, ..LetterFilter::default() };
    let letters = dead_letters::list(&mut db.conn().await.unwrap(), &all).await.unwrap();
    assert_eq!(letters.len(), 1);
    assert_eq!((letters[0].event_id.as_str(), letters[0].state.as_str()), ("boom", "waiting"));
    assert_eq!(letters[0].reason, "the handler panicked: it cannot bear this");
}
