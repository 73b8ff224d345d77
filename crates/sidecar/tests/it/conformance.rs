//! What every adapter of the port must do. An adapter gives a [`Fixture`] and a line of [`conformance!`].
//!
//! Publishing is no proof of delivery, so each test waits for what must have come, with a deadline; and topics,
//! keys and app-ids are new ones in each test, because a broker and a store may be shared and keep what they had.

use std::{collections::HashSet, sync::Arc, time::Duration};

use async_trait::async_trait;
use axum::{Json, Router, body::Bytes, http::StatusCode, routing::post};
use http::HeaderMap;
use mesh_six_sidecar::{BulkHandler, Condition, Sidecar, SidecarError, Status, Subscription};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::{Scripted, Step, TRACEPARENT, dead_letters, message, messages, subscription, topic, wait_for};

/// An adapter under test with whatever it needs around it.
#[async_trait]
pub(crate) trait Fixture: Send + Sync {
    /// The sidecar of `app_id`.
    fn sidecar(&self, app_id: &str) -> Arc<dyn Sidecar>;
    /// Starts an app with these subscriptions and routes; returns when its sidecar is subscribed.
    async fn start_app(&self, app_id: &str, subscriptions: Subscriptions, routes: Router);
    /// Ends the app; its messages are kept.
    async fn stop_app(&self, app_id: &str);
}

pub(crate) type Subscriptions = Vec<(Subscription, Arc<dyn BulkHandler>)>;

/// All tests for one fixture.
macro_rules! conformance {
    ($test:meta, $fixture:expr) => {
        $crate::conformance::conformance!(@each $test, $fixture,
            a_message_arrives_as_it_was_published,
            every_app_that_subscribes_gets_a_copy,
            retry_brings_the_same_event_again,
            drop_goes_to_the_dead_letters_unchanged,
            a_panic_drops_only_its_own_message,
            a_missing_answer_is_a_retry,
            a_bulk_is_delivered_in_order_and_in_batches,
            a_second_publish_is_the_same_event,
            an_event_that_is_sent_again_keeps_what_it_is,
            without_a_subscriber_publishing_succeeds,
            an_app_that_was_away_gets_what_it_missed,
            etags_and_conditions,
            a_value_vanishes_after_its_ttl,
            values_in_bulk,
            invocation,
            invocation_that_fails,
        );
    };
    (@each $test:meta, $fixture:expr, $($name:ident,)*) => {
        $(#[$test] async fn $name() { $crate::conformance::$name(&$fixture).await; })*
    };
}
pub(crate) use conformance;

async fn one_app(fixture: &impl Fixture, app: &str, subscription: Subscription, handler: &Arc<Scripted>) {
    fixture.start_app(app, vec![(subscription, handler.clone())], Router::new()).await;
}

pub(crate) async fn a_message_arrives_as_it_was_published(fixture: &impl Fixture) {
    let (topic, handler) = (topic(), Scripted::always(Status::Success));
    let app = format!("app-{topic}");
    assert!(!fixture.sidecar(&app).subscribed().await);
    one_app(fixture, &app, subscription(&topic, 20), &handler).await;
    assert!(fixture.sidecar(&app).subscribed().await);

    let publisher = fixture.sidecar("publisher");
    assert!(publisher.outbound_ready().await);
    let mut sent = message(&topic, json!({"text": "grüße\u{2028}\"", "n": 0.1, "none": null}));
    sent.traceparent = Some(TRACEPARENT.to_owned());
    publisher.publish(sent.clone()).await.unwrap();
    wait_for("the message", 1, async || handler.count(Status::Success)).await;

    let (got, _) = handler.seen().answered.remove(0);
    assert_eq!((got.event.id, got.event.source), (sent.id, "publisher".to_owned()));
    assert_eq!((got.event.time, got.event.data), (Some(sent.time), sent.data));
    assert_eq!((got.event.topic, got.topic), (Some(topic.clone()), topic));
    assert_eq!(got.event.datacontenttype.as_deref(), Some("application/json"));
    // A sidecar may put its own span in between; the trace stays.
    assert_eq!(got.traceparent.unwrap().split('-').nth(1), TRACEPARENT.split('-').nth(1));
    assert!(!got.wrapped);
    let bytes: Value = serde_json::from_slice(&got.bytes).unwrap();
    assert_eq!(bytes["specversion"], "1.0");
}

pub(crate) async fn every_app_that_subscribes_gets_a_copy(fixture: &impl Fixture) {
    let topic = topic();
    let handlers = [Scripted::always(Status::Success), Scripted::always(Status::Success)];
    for (n, handler) in handlers.iter().enumerate() {
        one_app(fixture, &format!("app{n}-{topic}"), subscription(&topic, 20), handler).await;
    }
    fixture.sidecar("publisher").publish(message(&topic, json!(1))).await.unwrap();
    for handler in &handlers {
        wait_for("a copy", 1, async || handler.count(Status::Success)).await;
    }
}

pub(crate) async fn retry_brings_the_same_event_again(fixture: &impl Fixture) {
    let topic = topic();
    let handler = Scripted::new(|_, tries| Step::Answer(if tries < 3 { Status::Retry } else { Status::Success }));
    one_app(fixture, &format!("app-{topic}"), subscription(&topic, 20), &handler).await;
    fixture.sidecar("publisher").publish(message(&topic, json!(1))).await.unwrap();
    wait_for("the fourth try", 1, async || handler.count(Status::Success)).await;
    let tries = handler.seen().answered;
    assert_eq!(tries.len(), 4);
    assert!(tries.iter().all(|(delivery, _)| delivery.bytes == tries[0].0.bytes));
}

pub(crate) async fn drop_goes_to_the_dead_letters_unchanged(fixture: &impl Fixture) {
    let (topic, handler, dead) = (topic(), Scripted::always(Status::Drop), Scripted::always(Status::Success));
    one_app(fixture, &format!("logger-{topic}"), dead_letters(&topic), &dead).await;
    one_app(fixture, &format!("app-{topic}"), subscription(&topic, 20), &handler).await;
    fixture.sidecar("publisher").publish(message(&topic, json!({"bad": true}))).await.unwrap();
    wait_for("the dead letter", 1, async || dead.count(Status::Success)).await;
    let (dropped, letter) = (handler.seen().answered.remove(0).0, dead.seen().answered.remove(0).0);
    assert_eq!((letter.bytes, letter.event), (dropped.bytes, dropped.event));
    let letter = dead.seen().answered.remove(0).0;
    assert_eq!((letter.origin_topic(), letter.topic.as_str()), (topic.as_str(), format!("dead-{topic}").as_str()));
    assert_eq!(handler.seen().answered.len(), 1);
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
    for answer in fixture.sidecar("publisher").publish_bulk(sent).await {
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
    for answer in fixture.sidecar("publisher").publish_bulk(sent).await {
        answer.unwrap();
    }
    wait_for("all messages", 3, async || handler.count(Status::Success)).await;
    assert_eq!(HashSet::from_iter(handler.ids()), ids);
}

pub(crate) async fn a_bulk_is_delivered_in_order_and_in_batches(fixture: &impl Fixture) {
    let (topic, handler) = (topic(), Scripted::always(Status::Success));
    one_app(fixture, &format!("app-{topic}"), subscription(&topic, 20), &handler).await;
    let sent = messages(&topic, 50);
    let ids: Vec<String> = sent.iter().map(|message| message.id.clone()).collect();
    let answers = fixture.sidecar("publisher").publish_bulk(sent).await;
    assert!(answers.len() == 50 && answers.iter().all(Result::is_ok));
    wait_for("all messages", ids, async || handler.ids()).await;
    let batches: Vec<usize> = handler.seen().batches.iter().map(Vec::len).collect();
    assert!(batches.iter().all(|size| *size <= 20) && batches.iter().any(|size| *size > 1), "{batches:?}");
}

pub(crate) async fn a_second_publish_is_the_same_event(fixture: &impl Fixture) {
    let (topic, handler) = (topic(), Scripted::always(Status::Success));
    one_app(fixture, &format!("app-{topic}"), subscription(&topic, 20), &handler).await;
    let (publisher, sent) = (fixture.sidecar("publisher"), message(&topic, json!(1)));
    for _ in 0..2 {
        publisher.publish(sent.clone()).await.unwrap();
    }
    wait_for("both copies", 2, async || handler.count(Status::Success)).await;
    let key = |n: usize| {
        let (delivery, _) = handler.seen().answered.remove(n);
        (delivery.event.source, delivery.event.id, delivery.event.time)
    };
    assert_eq!(key(0), key(1));
}

pub(crate) async fn an_event_that_is_sent_again_keeps_what_it_is(fixture: &impl Fixture) {
    let topic = topic();
    let handlers = [Scripted::always(Status::Success), Scripted::always(Status::Success)];
    for (n, handler) in handlers.iter().enumerate() {
        one_app(fixture, &format!("app{n}-{topic}"), subscription(&topic, 20), handler).await;
    }
    let publisher = fixture.sidecar("publisher");
    // As somebody else sent it, where it came from, and with a member of its own.
    let sent = json!({
        "id": "7", "source": "somebody", "type": "their.type", "specversion": "1.0", "subject": "s", "own": [1.5],
        "datacontenttype": "application/json", "time": "2026-01-02T03:04:05.000006Z", "data": {"text": "grüße"},
        "topic": "elsewhere", "pubsubname": "another", "traceid": TRACEPARENT, "traceparent": TRACEPARENT,
    });
    publisher.republish(&topic, sent.to_string().as_bytes()).await.unwrap();
    for handler in &handlers {
        wait_for("the event", 1, async || handler.count(Status::Success)).await;
        let (got, _) = handler.seen().answered.remove(0);
        let mut got: Value = serde_json::from_slice(&got.bytes).unwrap();
        assert_eq!((&got["topic"], &got["pubsubname"]), (&json!(topic), &json!("agent-pubsub")));
        for trace in ["traceid", "traceparent"] {
            let own = got[trace].as_str().unwrap().split('-').nth(1).map(str::to_owned);
            assert_eq!(own.as_deref(), TRACEPARENT.split('-').nth(1));
        }
        for name in ["topic", "pubsubname", "traceid", "traceparent"] {
            got[name] = sent[name].clone();
        }
        // A sidecar may add members, but changes none.
        let got: serde_json::Map<String, Value> =
            got.as_object().unwrap().clone().into_iter().filter(|(name, _)| sent.get(name).is_some()).collect();
        assert_eq!(Value::Object(got), sent);
    }
    for bytes in [&b"no JSON"[..], b"", br#"{"id":"7"}"#, br#"["7","somebody"]"#] {
        let refused = publisher.republish(&topic, bytes).await.unwrap_err();
        assert!(matches!(refused, SidecarError::Refused { status: 400, .. }), "{refused}");
    }
}

pub(crate) async fn without_a_subscriber_publishing_succeeds(fixture: &impl Fixture) {
    fixture.sidecar("publisher").publish(message(&topic(), json!(1))).await.unwrap();
}

pub(crate) async fn an_app_that_was_away_gets_what_it_missed(fixture: &impl Fixture) {
    let (topic, handler) = (topic(), Scripted::always(Status::Success));
    let app = format!("app-{topic}");
    one_app(fixture, &app, subscription(&topic, 20), &handler).await;
    fixture.stop_app(&app).await;
    // Whether the adapter proves the delivery or not, the queue has the message.
    let answer = fixture.sidecar("publisher").publish(message(&topic, json!(1))).await;
    assert!(matches!(answer, Ok(()) | Err(SidecarError::Unavailable(_))), "{answer:?}");
    one_app(fixture, &app, subscription(&topic, 20), &handler).await;
    wait_for("the message", 1, async || handler.count(Status::Success)).await;
}

/// A key that no other test uses.
fn key() -> String {
    format!("test:{}", Uuid::now_v7())
}

pub(crate) async fn etags_and_conditions(fixture: &impl Fixture) {
    let (one, other, key) = (fixture.sidecar("one"), fixture.sidecar("other"), key());
    assert_eq!(one.get_state(&key).await.unwrap(), None);
    let stale = Condition::Match("4711".to_owned());
    assert!(matches!(one.set_state(&key, json!(0), stale, None).await, Err(SidecarError::Conflict)));

    one.set_state(&key, json!({"a": 1}), Condition::Absent, None).await.unwrap();
    assert!(matches!(other.set_state(&key, json!(0), Condition::Absent, None).await, Err(SidecarError::Conflict)));
    // The store is one for all apps.
    let first = other.get_state(&key).await.unwrap().unwrap();
    assert_eq!(first.value, json!({"a": 1}));

    let fits = Condition::Match(first.etag.clone());
    other.set_state(&key, json!(2), fits.clone(), None).await.unwrap();
    assert!(matches!(one.set_state(&key, json!(3), fits, None).await, Err(SidecarError::Conflict)));
    let second = one.get_state(&key).await.unwrap().unwrap();
    assert_eq!(second.value, json!(2));
    assert_ne!(second.etag, first.etag);

    one.set_state(&key, json!(4), Condition::None, None).await.unwrap();
    one.delete_state(&key).await.unwrap();
    one.delete_state(&key).await.unwrap();
    assert_eq!(one.get_state(&key).await.unwrap(), None);
    one.set_state(&key, json!(5), Condition::Absent, None).await.unwrap();
    assert!(matches!(one.set_state("a||b", json!(0), Condition::None, None).await, Err(SidecarError::Refused { .. })));
}

pub(crate) async fn a_value_vanishes_after_its_ttl(fixture: &impl Fixture) {
    let (one, short, long) = (fixture.sidecar("one"), key(), key());
    let second = Some(Duration::from_secs(1));
    one.set_state(&short, json!(1), Condition::None, second).await.unwrap();
    one.set_state(&long, json!(1), Condition::None, second).await.unwrap();
    one.set_state(&long, json!(2), Condition::None, Some(Duration::from_mins(10))).await.unwrap();
    assert!(one.get_state(&short).await.unwrap().is_some());
    wait_for("the end of the value", None, async || one.get_state(&short).await.unwrap()).await;
    one.set_state(&short, json!(3), Condition::Absent, None).await.unwrap();
    // A later write brings its own time to live.
    assert_eq!(one.get_state(&long).await.unwrap().unwrap().value, json!(2));
}

pub(crate) async fn values_in_bulk(fixture: &impl Fixture) {
    let (one, a, b) = (fixture.sidecar("one"), key(), key());
    one.set_state(&a, json!("a"), Condition::None, None).await.unwrap();
    one.set_state(&b, json!("b"), Condition::None, None).await.unwrap();
    let got = one.get_state_bulk(&[b.clone(), key(), a.clone()]).await.unwrap();
    assert_eq!(got, [one.get_state(&b).await.unwrap(), None, one.get_state(&a).await.unwrap()]);
    assert_eq!(one.get_state_bulk(&[]).await.unwrap(), []);
}

pub(crate) async fn invocation(fixture: &impl Fixture) {
    let app = format!("app-{}", topic());
    let echo = async |headers: HeaderMap, Json(body): Json<Value>| {
        let trace = headers.get("traceparent").and_then(|value| value.to_str().ok()).map(str::to_owned);
        (StatusCode::CREATED, Json(json!({"body": body, "trace": trace})))
    };
    let routes = Router::new()
        .route("/echo", post(echo))
        .route("/text", post(async |_: Bytes| (StatusCode::IM_A_TEAPOT, "no JSON")));
    fixture.start_app(&app, vec![], routes).await;
    let caller = fixture.sidecar("caller");
    let call = async |path: &str| {
        let limit = Duration::from_secs(30);
        caller.invoke(&app, path, json!({"q": "grüße"}), Some(TRACEPARENT), limit).await.unwrap()
    };
    for path in ["/echo", "echo", "/echo?x=1"] {
        let answer = call(path).await;
        assert_eq!((answer.status, &answer.body["body"]), (201, &json!({"q": "grüße"})));
        let trace = answer.body["trace"].as_str().unwrap();
        assert_eq!(trace.split('-').nth(1), TRACEPARENT.split('-').nth(1));
    }
    let answer = call("/text").await;
    assert_eq!((answer.status, answer.body), (418, Value::Null));
    assert_eq!(call("/nowhere").await.status, 404);
}

pub(crate) async fn invocation_that_fails(fixture: &impl Fixture) {
    let app = format!("app-{}", topic());
    let routes = Router::new().route("/hang", post(async |_: Bytes| std::future::pending::<()>().await));
    fixture.start_app(&app, vec![], routes).await;
    let caller = fixture.sidecar("caller");
    let limit = Duration::from_millis(200);
    let late = caller.invoke(&app, "/hang", json!({}), None, limit).await.unwrap_err();
    assert!(late.is_transient(), "{late}");
    let unknown = caller.invoke(&format!("nobody-{}", topic()), "/x", json!({}), None, limit).await.unwrap_err();
    assert!(matches!(unknown, SidecarError::Refused { .. }), "{unknown}");
}
