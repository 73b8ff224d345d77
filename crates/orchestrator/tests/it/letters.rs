//! The relay sends dead letters again.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use mesh_six_core::names::{PUBSUB, TASK_PROGRESS};
use mesh_six_db::dead_letters::{self, DeadLetter, LetterFilter, LetterState};
use mesh_six_sidecar::{BulkHandler, Delivery, Status, Subscription, subscription_router};
use mesh_six_testing::wait_until;
use serde_json::{Value, json};

use crate::rig::{LONG, Rig, settings};

/// Remembers what it was given.
#[derive(Default)]
struct Listener(Mutex<Vec<Value>>);

#[async_trait]
impl BulkHandler for Listener {
    async fn handle(&self, deliveries: Vec<Delivery>) -> Vec<Status> {
        let events = deliveries.iter().map(|d| serde_json::from_slice(&d.bytes).unwrap());
        self.0.lock().unwrap().extend(events);
        vec![Status::Success; deliveries.len()]
    }

    async fn dropped(&self, _: &Delivery, _: &str) -> Status {
        Status::Drop
    }
}

/// Two subscribers of the progress notes.
async fn listeners(rig: &Rig) -> [Arc<Listener>; 2] {
    let listeners = [Arc::<Listener>::default(), Arc::default()];
    for (name, listener) in ["one", "other"].into_iter().zip(&listeners) {
        let handler: Arc<dyn BulkHandler> = Arc::clone(listener) as Arc<dyn BulkHandler>;
        let subscription = Subscription::bulk(PUBSUB, TASK_PROGRESS, "/notes", 20, 5);
        let token = Some(rig.mesh.app_token().to_owned());
        rig.mesh.attach(name, subscription_router(vec![(subscription, handler)], token)).await.unwrap();
    }
    listeners
}

/// A letter with this envelope, replayed. Its id.
async fn replayed(rig: &Rig, envelope: &Value) -> String {
    let letter = DeadLetter {
        app_id: "one".to_owned(),
        topic: TASK_PROGRESS.to_owned(),
        source: "an-agent".to_owned(),
        id: "note-7".to_owned(),
        envelope: envelope.to_string().into_bytes(),
        reason: Some("the database was full".to_owned()),
    };
    let mut conn = rig.db.conn().await.unwrap();
    dead_letters::store(&mut conn, &[letter]).await.unwrap();
    let all = LetterFilter { limit: 1, ..LetterFilter::default() };
    let id = dead_letters::list(&mut conn, &all).await.unwrap().remove(0).id;
    dead_letters::replay(&mut conn, &id, false, |_| Ok(())).await.unwrap();
    id
}

async fn unsent(rig: &Rig) -> i64 {
    rig.sql().await.query_one("SELECT count(*) FROM outbox WHERE sent_at IS NULL", &[]).await.unwrap().get(0)
}

#[tokio::test]
async fn a_replayed_letter_is_the_same_event_for_every_subscriber_also_after_a_restart() {
    let rig = Rig::new().await;
    let listeners = listeners(&rig).await;
    rig.end().await;
    let sent = json!({
        "id": "note-7", "source": "an-agent", "type": "com.dapr.event.sent", "specversion": "1.0", "another": [1.5],
        "time": "2026-01-02T03:04:05.000006Z", "data": {"big": 12_345_678_901_234_567_i64},
        "traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    });
    replayed(&rig, &sent).await;
    // The row is in the outbox when the next orchestrator starts.
    assert_eq!(unsent(&rig).await, 1);
    let again = Rig::on(rig.db.clone(), rig.mesh.clone(), settings()).await;
    wait_until(LONG, async || unsent(&rig).await == 0).await;
    let mut expected = sent;
    expected["topic"] = json!(TASK_PROGRESS);
    expected["pubsubname"] = json!(PUBSUB);
    for listener in &listeners {
        assert_eq!(*listener.0.lock().unwrap(), [expected.clone()]);
    }
    again.end().await;
}

#[tokio::test]
async fn what_can_never_be_sent_waits_again_and_what_was_erased_is_not_sent() {
    let rig = Rig::new().await;
    let listeners = listeners(&rig).await;
    // Larger than a broker takes.
    let id = replayed(&rig, &json!({"id": "note-7", "source": "an-agent", "data": "x".repeat(600_000)})).await;
    wait_until(LONG, async || {
        let letter = dead_letters::get(&mut rig.db.conn().await.unwrap(), &id).await.unwrap().letter;
        letter.state == LetterState::Waiting
    })
    .await;
    let letter = dead_letters::get(&mut rig.db.conn().await.unwrap(), &id).await.unwrap().letter;
    assert_eq!(letter.tries, 2);
    assert!(
        letter.reason.contains("at most") && letter.reason.ends_with("before: the database was full"),
        "{letter:?}"
    );
    assert_eq!(unsent(&rig).await, 0);

    rig.end().await;
    dead_letters::replay(&mut rig.db.conn().await.unwrap(), &id, false, |_| Ok(())).await.unwrap();
    rig.sql().await.execute("UPDATE dead_letters SET envelope = ''", &[]).await.unwrap();
    let again = Rig::on(rig.db.clone(), rig.mesh.clone(), settings()).await;
    wait_until(LONG, async || unsent(&rig).await == 0).await;
    assert!(listeners.iter().all(|listener| listener.0.lock().unwrap().is_empty()));
    again.end().await;
}
