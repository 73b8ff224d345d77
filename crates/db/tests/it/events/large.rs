//! Large batches, which go in by COPY, and keys that are taken for new.

use std::time::{Duration, Instant};

use mesh_six_core::{
    Event,
    event::{Content, EventFilter, Position},
    id::new_id,
};
use mesh_six_db::events::Appended;
use mesh_six_testing::wait_until;
use serde_json::json;

use super::{Rig, SOON, event, events, is_written, position};

/// Longer than a writer looks for each key before it writes it.
const TRUST: Duration = Duration::from_secs(4);

async fn stored(rig: &Rig) -> (Vec<Event>, Vec<Position>) {
    let (mut filter, mut all) = (EventFilter { limit: Some(1_000), ..EventFilter::default() }, Vec::new());
    loop {
        let page = rig.log.query(&filter).await.unwrap();
        let Some(last) = page.last() else { break };
        filter.after = Some(last.position);
        all.extend(page);
    }
    all.into_iter().map(|stored| (stored.event, stored.position)).unzip()
}

fn keyed(numbers: std::ops::Range<i64>, prefix: &str) -> Vec<Event> {
    numbers.map(|n| event(n).keyed(format!("{prefix} {n}"))).collect()
}

#[tokio::test]
async fn a_large_batch_is_stored_as_it_was_given() {
    let rig = Rig::new().await;
    let mut given = events(1_500);
    for (n, event) in given.iter_mut().enumerate().filter(|(n, _)| n % 3 == 0) {
        event.task_id = Some(new_id());
        event.aggregate_id = Some(format!("project:{n}"));
        event.payload = json!({"text": "ä \"quoted\" \u{1F980}", "float": 0.1, "big": u64::MAX, "list": [n]});
    }
    given[700].idempotency_key = Some("a caller's own key".to_owned());
    let told: Vec<_> = rig.log.append(given.clone()).await.unwrap().into_iter().map(position).collect();
    assert_eq!(stored(&rig).await, (given, told));
}

#[tokio::test]
async fn content_goes_beside_a_large_batch() {
    let rig = Rig::new().await;
    let mut given = events(300);
    for event in &mut given {
        event.content = Some(Content { kind: "prompt", text: "a question".to_owned(), user_id: None });
    }
    assert!(rig.log.append(given).await.unwrap().iter().all(is_written));
    assert_eq!(rig.count("id IN (SELECT event_id FROM event_contents)").await, 300);
}

#[tokio::test]
async fn of_a_large_batch_only_what_is_new_is_written() {
    let rig = Rig::new().await;
    rig.log.append(keyed(0..300, "key")).await.unwrap();
    let told = rig.log.append(keyed(100..700, "key")).await.unwrap();
    let new: Vec<bool> = told.iter().map(is_written).collect();
    assert_eq!(new, (100..700).map(|n| n >= 300).collect::<Vec<_>>());
    assert_eq!(rig.log.append(keyed(0..700, "key")).await.unwrap(), vec![Appended::Duplicate; 700]);
    assert_eq!(rig.count("true").await, 700);
}

#[tokio::test]
async fn a_key_that_was_taken_for_new_is_found_to_be_known() {
    let rig = Rig::new().await;
    rig.log.append(keyed(0..2, "first")).await.unwrap();
    for (batch, size) in [("small", 2), ("large", 400), ("larger", 2_400)] {
        // Writers come to trust while all keys are new.
        let (begun, mut next) = (Instant::now(), 0);
        wait_until(SOON, async || {
            next += 2;
            rig.log.append(keyed(next..next + 2, batch)).await.unwrap();
            begun.elapsed() > TRUST
        })
        .await;
        let before = rig.count("true").await;
        let mut given = keyed(100_000..100_000 + size, batch);
        given[1].idempotency_key = Some("first 1".to_owned());
        let told = rig.log.append(given.clone()).await.unwrap();
        let new: Vec<bool> = told.iter().map(is_written).collect();
        assert_eq!(new, (0..size).map(|n| n != 1).collect::<Vec<_>>(), "{batch}");
        assert_eq!(rig.count("true").await, before + size - 1, "{batch}");
        assert_eq!(rig.log.append(given).await.unwrap(), vec![Appended::Duplicate; told.len()], "{batch}");
    }
}
