//! What is published, and how it arrives.

use std::collections::HashMap;

use mesh_six_sidecar::{SidecarError, Status};
use serde_json::{Map, Value, json};

use super::{Fixture, one_app, trace};
use crate::support::{Scripted, TRACEPARENT, message, messages, subscription, topic, wait_for};

pub(crate) async fn a_message_arrives_as_it_was_published(fixture: &impl Fixture) {
    let (topic, handler) = (topic(), Scripted::always(Status::Success));
    let app = format!("app-{topic}");
    assert!(!fixture.sidecar(&app).await.subscribed().await);
    one_app(fixture, &app, subscription(&topic, 20), &handler).await;
    assert!(fixture.sidecar(&app).await.subscribed().await);

    let publisher = fixture.sidecar("publisher").await;
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
    assert_eq!(trace(&got.traceparent.unwrap()), trace(TRACEPARENT));
    assert!(!got.wrapped);
    let bytes: Value = serde_json::from_slice(&got.bytes).unwrap();
    assert_eq!(bytes["specversion"], "1.0");
}

pub(crate) async fn numbers_arrive_as_they_were_sent<F: Fixture>(fixture: &F) {
    let (topic, handler) = (topic(), Scripted::always(Status::Success));
    one_app(fixture, &format!("app-{topic}"), subscription(&topic, 20), &handler).await;
    // The first whole number that is none as a 64-bit float.
    let beyond = (1_u64 << 53) + 1;
    let sent = json!({ "safe": beyond - 2, "below": -0.25, "text": beyond.to_string(), "beyond": beyond });
    fixture.sidecar("publisher").await.publish(message(&topic, sent.clone())).await.unwrap();
    wait_for("the message", 1, async || handler.count(Status::Success)).await;
    let got = handler.seen().answered.remove(0).0.event.data;
    for name in ["safe", "below", "text"] {
        assert_eq!(got[name], sent[name]);
    }
    assert_eq!(got["beyond"] == sent["beyond"], F::KEEPS_NUMBERS, "{got}");
}

pub(crate) async fn each_message_has_its_own_trace(fixture: &impl Fixture) {
    let (topic, handler) = (topic(), Scripted::always(Status::Success));
    one_app(fixture, &format!("app-{topic}"), subscription(&topic, 20), &handler).await;
    let mut sent = messages(&topic, 4);
    // The last one has none.
    for (n, message) in sent.iter_mut().enumerate().take(3) {
        message.traceparent = Some(format!("00-4bf92f3577b34da6a3ce929d0e0e473{n}-00f067aa0ba902b7-01"));
    }
    let traces: HashMap<_, _> = sent.iter().map(|message| (message.id.clone(), message.traceparent.clone())).collect();
    for answer in fixture.sidecar("publisher").await.publish_bulk(sent).await {
        answer.unwrap();
    }
    wait_for("all messages", 4, async || handler.count(Status::Success)).await;
    for (got, _) in handler.seen().answered {
        let got_trace = got.traceparent.as_deref().map(trace);
        match &traces[&got.event.id] {
            Some(sent) => assert_eq!(got_trace, Some(trace(sent))),
            // A sidecar may have begun one, but not handed on that of a neighbour.
            None => assert!(traces.values().flatten().all(|other| got_trace != Some(trace(other))), "{got:?}"),
        }
    }
}

pub(crate) async fn a_bulk_is_delivered_in_order_and_in_batches<F: Fixture>(fixture: &F) {
    let (topic, handler) = (topic(), Scripted::always(Status::Success));
    one_app(fixture, &format!("app-{topic}"), subscription(&topic, 20), &handler).await;
    let sent = messages(&topic, 50);
    let ids: Vec<String> = sent.iter().map(|message| message.id.clone()).collect();
    let answers = fixture.sidecar("publisher").await.publish_bulk(sent).await;
    assert!(answers.len() == 50 && answers.iter().all(Result::is_ok));
    wait_for("all messages", ids, async || {
        let mut got = handler.ids();
        if !F::KEEPS_ORDER {
            // They were made in their order.
            got.sort();
        }
        got
    })
    .await;
    let batches: Vec<usize> = handler.seen().batches.iter().map(Vec::len).collect();
    assert!(batches.iter().all(|size| *size <= 20) && batches.iter().any(|size| *size > 1), "{batches:?}");
}

pub(crate) async fn a_second_publish_is_the_same_event(fixture: &impl Fixture) {
    let (topic, handler) = (topic(), Scripted::always(Status::Success));
    one_app(fixture, &format!("app-{topic}"), subscription(&topic, 20), &handler).await;
    let (publisher, sent) = (fixture.sidecar("publisher").await, message(&topic, json!(1)));
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
    let publisher = fixture.sidecar("publisher").await;
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
        for member in ["traceid", "traceparent"] {
            assert_eq!(trace(got[member].as_str().unwrap()), trace(TRACEPARENT));
        }
        for member in ["topic", "pubsubname", "traceid", "traceparent"] {
            got[member] = sent[member].clone();
        }
        // A sidecar may add members, but changes none.
        let got: Map<String, Value> =
            got.as_object().unwrap().clone().into_iter().filter(|(name, _)| sent.get(name).is_some()).collect();
        assert_eq!(Value::Object(got), sent);
    }
    for bytes in [&b"no JSON"[..], b"", br#"{"id":"7"}"#, br#"["7","somebody"]"#] {
        let refused = publisher.republish(&topic, bytes).await.unwrap_err();
        assert!(matches!(refused, SidecarError::Refused { status: 400, .. }), "{refused}");
    }
}

pub(crate) async fn without_a_subscriber_publishing_succeeds(fixture: &impl Fixture) {
    fixture.sidecar("publisher").await.publish(message(&topic(), json!(1))).await.unwrap();
}

pub(crate) async fn publishing_waits_for_a_sidecar_that_is_away(fixture: &impl Fixture) {
    let (topic, handler) = (topic(), Scripted::always(Status::Success));
    one_app(fixture, &format!("app-{topic}"), subscription(&topic, 20), &handler).await;
    let publisher = fixture.sidecar("publisher").await;
    for bulk in [false, true] {
        let ended = fixture.end_sidecar("publisher").await;
        assert_eq!(publisher.outbound_ready().await, !ended);
        let publish = async {
            if bulk {
                publisher.publish_bulk(messages(&topic, 3)).await
            } else {
                vec![publisher.publish(message(&topic, json!({ "n": 7 }))).await]
            }
        };
        // The first try comes before the start.
        let (answers, ()) = tokio::join!(publish, fixture.start_sidecar("publisher"));
        assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    }
    let numbers = async || {
        let mut numbers: Vec<_> = handler.seen().answered.iter().map(|(got, _)| got.event.data["n"].as_u64()).collect();
        numbers.sort_unstable();
        numbers.dedup();
        numbers
    };
    wait_for("all messages", [0, 1, 2, 7].map(Some).to_vec(), numbers).await;
}
