//! The topic of dead letters: bytes as they are, never lost, never doubled.

use std::time::Duration;

use base64::{Engine, prelude::BASE64_STANDARD};
use mesh_six_core::names::{TASK_PROGRESS, TASK_RESULTS};
use mesh_six_sidecar::LocalMesh;
use mesh_six_testing::{
    samples::{AGENT, envelope, message, note, request, with},
    wait_until,
};
use serde_json::{Value, json};

use crate::{
    ask,
    rig::{Rig, Service},
};

const ROUTE: &str = "/events/dead-letter";

fn raw(bytes: &[u8]) -> Value {
    json!(BASE64_STANDARD.encode(bytes))
}

#[tokio::test]
async fn bytes_that_are_no_json_are_kept_as_they_are_under_their_hash() {
    let rig = Rig::start().await;
    let bytes = b"\xff\x00 no JSON at all";
    for _ in 0..2 {
        assert_eq!(rig.deliver(ROUTE, &[raw(bytes), raw(b""), raw(b"[1, 2]")]).await, ["SUCCESS"; 3]);
    }
    let letters = rig.letters().await;
    assert_eq!(letters.len(), 3);
    assert!(letters.iter().any(|l| l.envelope == bytes));
    for letter in letters {
        assert_eq!((letter.id.len(), letter.tries, letter.state.as_str()), (64, 1, "waiting"));
        let names = [letter.app_id, letter.topic, letter.source, letter.reason];
        assert_eq!(names, ["unknown", "dead-letter", "unknown", "not told"]);
    }
}

#[tokio::test]
async fn the_broker_s_copy_of_a_handler_s_own_drop_adds_nothing() {
    let rig = Rig::start().await;
    let bad = with(envelope(AGENT, message(TASK_PROGRESS, json!(note(&request(), "x")))), "data", json!({}));
    assert_eq!(rig.deliver("/events/task-progress", std::slice::from_ref(&bad)).await, ["BURIED"]);
    // Dapr forwards the envelope as it is and does not tell whose subscription dropped it.
    let copy = raw(bad.to_string().as_bytes());
    assert_eq!(rig.deliver(ROUTE, std::slice::from_ref(&copy)).await, ["SUCCESS"]);
    let letters = rig.letters().await;
    assert_eq!(letters.len(), 1);
    assert_eq!((letters[0].app_id.as_str(), letters[0].tries), ("event-logger", 1));
    assert!(letters[0].reason.starts_with("taskId: "));
    assert_eq!(serde_json::from_slice::<Value>(&letters[0].envelope).unwrap(), bad);

    // Replayed and failed again, it waits again, whether the handler or only the broker tells.
    let client = rig.database.client().await;
    for (route, event, tries) in [("/events/task-progress", &bad, 2), (ROUTE, &copy, 3)] {
        client.execute("UPDATE dead_letters SET state = 'replayed'", &[]).await.unwrap();
        rig.deliver(route, std::slice::from_ref(event)).await;
        let letters = rig.letters().await;
        assert_eq!((letters.len(), letters[0].state.as_str(), letters[0].tries), (1, "waiting", tries));
        assert!(letters[0].reason.starts_with("taskId: "));
    }
}

#[tokio::test]
async fn on_the_local_mesh_a_dropped_message_ends_as_one_letter_and_its_publisher_goes_on() {
    let rig = Rig::start().await;
    let mesh = LocalMesh::new();
    let service = Service::start(&rig.db, &rig.log, mesh.app_token());
    mesh.attach("event-logger", service.router.clone()).await.unwrap();
    let agent = mesh.sidecar(AGENT);
    agent.publish(message(TASK_RESULTS, json!("no result"))).await.unwrap();
    agent.publish(message("dead-letter", json!({"of": "somebody"}))).await.unwrap();
    wait_until(Duration::from_secs(10), async || mesh.under_way() == 0).await;
    let letters = rig.letters().await;
    let mut told: Vec<_> = letters.iter().map(|l| (l.topic.as_str(), l.source.as_str(), l.tries)).collect();
    told.sort_unstable();
    assert_eq!(told, [("dead-letter", AGENT, 1), (TASK_RESULTS, AGENT, 1)]);
    mesh.shutdown().await;
    service.stop().await;
}

#[tokio::test]
async fn names_of_any_length_and_kind_are_kept() {
    let rig = Rig::start().await;
    let odd = json!({"id": "i\0".repeat(50_000), "source": "s".repeat(100_000), "topic": "t\0", "data": 1});
    assert_eq!(rig.deliver(ROUTE, &[raw(odd.to_string().as_bytes()), raw(b"other")]).await, ["SUCCESS"; 2]);
    assert_eq!(rig.letters().await.len(), 2);
}

#[tokio::test]
async fn a_letter_that_came_alone_is_kept_too() {
    let rig = Rig::start().await;
    let answer = ask::post(rig.router(), ROUTE, crate::rig::TOKEN, "{ no JSON").await;
    assert_eq!(answer.json(), json!({"status": "SUCCESS"}));
    assert_eq!(rig.letters().await[0].envelope, b"{ no JSON");
}
