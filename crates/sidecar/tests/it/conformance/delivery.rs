//! What an app is given, and what becomes of its answers.

use std::collections::HashSet;

use axum::Router;
use mesh_six_sidecar::{SidecarError, Status};
use serde_json::json;

use super::{Fixture, one_app};
use crate::support::{Scripted, Step, dead_letters, message, messages, subscription, topic, wait_for};

pub(crate) async fn every_app_that_subscribes_gets_a_copy(fixture: &impl Fixture) {
    let topic = topic();
    let handlers = [Scripted::always(Status::Success), Scripted::always(Status::Success)];
    for (n, handler) in handlers.iter().enumerate() {
        one_app(fixture, &format!("app{n}-{topic}"), subscription(&topic, 20), handler).await;
    }
    fixture.sidecar("publisher").await.publish(message(&topic, json!(1))).await.unwrap();
    for handler in &handlers {
        wait_for("a copy", 1, async || handler.count(Status::Success)).await;
    }
}

pub(crate) async fn each_subscription_of_an_app_gets_its_own_topic(fixture: &impl Fixture) {
    let topics = [topic(), topic()];
    let handlers = [Scripted::always(Status::Success), Scripted::always(Status::Success)];
    let subscriptions = topics.iter().zip(&handlers);
    let subscriptions = subscriptions.map(|(topic, handler)| (subscription(topic, 20), handler.clone() as _)).collect();
    fixture.start_app(&format!("app-{}", topics[0]), subscriptions, Router::new()).await;
    // One bulk for both topics.
    let sent = [messages(&topics[0], 2), messages(&topics[1], 3)].concat();
    assert!(fixture.sidecar("publisher").await.publish_bulk(sent).await.iter().all(Result::is_ok));
    for (handler, count) in handlers.iter().zip([2, 3]) {
        wait_for("its messages", count, async || handler.count(Status::Success)).await;
    }
    let of = |n: usize| handlers[n].seen().batches.into_iter().flatten().map(|got| got.topic).collect::<HashSet<_>>();
    assert_eq!([of(0), of(1)], topics.map(|topic| HashSet::from([topic])));
}

pub(crate) async fn retry_brings_the_same_event_again(fixture: &impl Fixture) {
    let topic = topic();
    let handler = Scripted::new(|_, tries| Step::Answer(if tries < 3 { Status::Retry } else { Status::Success }));
    one_app(fixture, &format!("app-{topic}"), subscription(&topic, 20), &handler).await;
    fixture.sidecar("publisher").await.publish(message(&topic, json!(1))).await.unwrap();
    wait_for("the fourth try", 1, async || handler.count(Status::Success)).await;
    let tries = handler.seen().answered;
    assert_eq!(tries.len(), 4);
    assert!(tries.iter().all(|(delivery, _)| delivery.bytes == tries[0].0.bytes));
}

pub(crate) async fn drop_goes_to_the_dead_letters_unchanged(fixture: &impl Fixture) {
    let (topic, handler, dead) = (topic(), Scripted::always(Status::Drop), Scripted::always(Status::Success));
    one_app(fixture, &format!("logger-{topic}"), dead_letters(&topic), &dead).await;
    one_app(fixture, &format!("app-{topic}"), subscription(&topic, 20), &handler).await;
    fixture.sidecar("publisher").await.publish(message(&topic, json!({"bad": true}))).await.unwrap();
    wait_for("the dead letter", 1, async || dead.count(Status::Success)).await;
    let (dropped, letter) = (handler.seen().answered.remove(0).0, dead.seen().answered.remove(0).0);
    assert_eq!((letter.bytes, letter.event), (dropped.bytes, dropped.event));
    let letter = dead.seen().answered.remove(0).0;
    assert_eq!((letter.origin_topic(), letter.topic.as_str()), (topic.as_str(), format!("dead-{topic}").as_str()));
    assert_eq!(handler.seen().answered.len(), 1);
}

pub(crate) async fn each_entry_has_its_own_answer(fixture: &impl Fixture) {
    let (topic, dead) = (topic(), Scripted::always(Status::Success));
    let handler = Scripted::new(|delivery, tries| {
        Step::Answer(match (delivery.event.data["n"].as_u64().unwrap() % 3, tries) {
            (0, _) => Status::Drop,
            (1, 0) => Status::Retry,
            _ => Status::Success,
        })
    });
    one_app(fixture, &format!("logger-{topic}"), dead_letters(&topic), &dead).await;
    one_app(fixture, &format!("app-{topic}"), subscription(&topic, 20), &handler).await;
    let sent = messages(&topic, 9);
    let ids = |rest: usize| sent.iter().skip(rest).step_by(3).map(|message| message.id.clone()).collect::<Vec<_>>();
    let (bad, mut good) = (ids(0), [ids(1), ids(2)].concat());
    good.sort();
    assert!(fixture.sidecar("publisher").await.publish_bulk(sent.clone()).await.iter().all(Result::is_ok));
    let answered = |status: Status| {
        let answered = handler.seen().answered.into_iter().filter(move |(_, step)| *step == Step::Answer(status));
        let mut ids: Vec<String> = answered.map(|(delivery, _)| delivery.event.id).collect();
        ids.sort();
        ids
    };
    wait_for("the good ones", good, async || answered(Status::Success)).await;
    wait_for("the dead letters", bad.clone(), async || {
        let mut ids = dead.ids();
        ids.sort();
        ids
    })
    .await;
    // Each was answered so once, whatever its neighbours were told.
    assert_eq!((answered(Status::Drop), answered(Status::Retry)), (bad, ids(1)));
}

pub(crate) async fn a_panic_drops_only_its_own_message(fixture: &impl Fixture) {
    let (topic, dead) = (topic(), Scripted::always(Status::Success));
    let handler = Scripted::new(|delivery, _| match delivery.event.data["n"].as_u64() {
        Some(3) => Step::Panic,
        _ => Step::Answer(Status::Success),
    });
    one_app(fixture, &format!("logger-{topic}"), dead_letters(&topic), &dead).await;
    one_app(fixture, &format!("app-{topic}"), subscription(&topic, 20), &handler).await;
    let sent = messages(&topic, 8);
    let poison = sent[3].id.clone();
    for answer in fixture.sidecar("publisher").await.publish_bulk(sent).await {
        answer.unwrap();
    }
    wait_for("the good ones", 7, async || handler.count(Status::Success)).await;
    wait_for("the dead letter", vec![poison.clone()], async || dead.ids()).await;
    let (id, reason) = handler.seen().reasons.remove(0);
    assert_eq!((id, reason.as_str()), (poison, "the handler panicked: as scripted"));
}

pub(crate) async fn a_missing_answer_is_a_retry(fixture: &impl Fixture) {
    let topic = topic();
    let handler = Scripted::new(|_, tries| if tries == 0 { Step::Missing } else { Step::Answer(Status::Success) });
    one_app(fixture, &format!("app-{topic}"), subscription(&topic, 20), &handler).await;
    let sent = messages(&topic, 3);
    let ids: HashSet<String> = sent.iter().map(|message| message.id.clone()).collect();
    for answer in fixture.sidecar("publisher").await.publish_bulk(sent).await {
        answer.unwrap();
    }
    wait_for("all messages", 3, async || handler.count(Status::Success)).await;
    assert_eq!(HashSet::from_iter(handler.ids()), ids);
}

pub(crate) async fn an_app_that_was_away_gets_what_it_missed(fixture: &impl Fixture) {
    let (topic, handler) = (topic(), Scripted::always(Status::Success));
    let app = format!("app-{topic}");
    one_app(fixture, &app, subscription(&topic, 20), &handler).await;
    fixture.stop_app(&app).await;
    // Whether the adapter proves the delivery or not, the queue has the message.
    let answer = fixture.sidecar("publisher").await.publish(message(&topic, json!(1))).await;
    assert!(matches!(answer, Ok(()) | Err(SidecarError::Unavailable(_))), "{answer:?}");
    one_app(fixture, &app, subscription(&topic, 20), &handler).await;
    wait_for("the message", 1, async || handler.count(Status::Success)).await;
}
