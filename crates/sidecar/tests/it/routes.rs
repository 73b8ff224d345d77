//! The routes that a sidecar calls, called as one.

use std::sync::Arc;

use async_trait::async_trait;
use axum::{
    Router,
    body::{Body, to_bytes},
};
use base64::{Engine, prelude::BASE64_STANDARD};
use http::{Method, Request};
use mesh_six_core::ApiError;
use mesh_six_sidecar::{APP_TOKEN_HEADER, BulkHandler, Delivery, Status, Subscription, subscription_router};
use serde_json::{Value, json};
use tower::ServiceExt;

use crate::support::{Scripted, Step, TRACEPARENT};

fn router(handler: Arc<dyn BulkHandler>) -> Router {
    subscription_router(vec![(Subscription::bulk("agent-pubsub", "t", "/t", 20, 5), handler)], None)
}

async fn send(router: &Router, method: Method, path: &str, token: Option<&str>, body: Vec<u8>) -> (u16, Value) {
    let mut request = Request::builder().method(method).uri(path).header("content-type", "application/json");
    if let Some(token) = token {
        request = request.header(APP_TOKEN_HEADER, token);
    }
    let response = router.clone().oneshot(request.body(Body::from(body)).unwrap()).await.unwrap();
    let status = response.status().as_u16();
    let body = to_bytes(response.into_body(), usize::MAX).await.unwrap();
    (status, serde_json::from_slice(&body).unwrap_or_default())
}

async fn deliver(router: &Router, body: &Value) -> (u16, Value) {
    send(router, Method::POST, "/t", None, body.to_string().into_bytes()).await
}

fn event(id: &str) -> Value {
    json!({"id": id, "source": "s", "type": "com.dapr.event.sent", "specversion": "1.0", "data": {"id": id},
        "traceparent": TRACEPARENT})
}

fn bulk(entries: &[(&str, Value)]) -> Value {
    let entries: Vec<Value> =
        entries.iter().map(|(id, event)| json!({"entryId": id, "event": event, "metadata": null})).collect();
    json!({"id": "x", "type": "com.dapr.event.sent.bulk", "topic": "t", "pubsubname": "agent-pubsub",
        "metadata": null, "entries": entries})
}

fn statuses(pairs: &[(&str, &str)]) -> Value {
    let list: Vec<Value> = pairs.iter().map(|(id, status)| json!({"entryId": id, "status": status})).collect();
    json!({ "statuses": list })
}

#[tokio::test]
async fn each_entry_has_its_own_status_and_its_own_trace() {
    let handler = Scripted::new(|delivery, _| {
        Step::Answer(match delivery.event.id.as_str() {
            "a" => Status::Success,
            "b" => Status::Retry,
            _ => Status::Drop,
        })
    });
    let mut b = event("b");
    b["traceparent"] = json!("");
    let body = bulk(&[("1", event("a")), ("2", b), ("3", event("c"))]);
    let answer = deliver(&router(handler.clone()), &body).await;
    assert_eq!(answer, (200, statuses(&[("1", "SUCCESS"), ("2", "RETRY"), ("3", "DROP")])));
    let batch = handler.seen().batches.remove(0);
    let traces: Vec<_> = batch.iter().map(|delivery| delivery.traceparent.as_deref()).collect();
    assert_eq!(traces, [Some(TRACEPARENT), None, Some(TRACEPARENT)]);
    assert_eq!(batch[0].trace_id().unwrap().to_string(), "4bf92f3577b34da6a3ce929d0e0e4736");
}

#[tokio::test]
async fn a_malformed_entry_is_dropped_alone_with_its_reason() {
    let handler = Scripted::always(Status::Success);
    let body = bulk(&[("1", json!({"id": 7})), ("2", event("b")), ("3", json!("text"))]);
    let answer = deliver(&router(handler.clone()), &body).await;
    assert_eq!(answer, (200, statuses(&[("1", "DROP"), ("2", "SUCCESS"), ("3", "DROP")])));
    assert_eq!(handler.ids(), ["b"]);
    let reasons = handler.seen().reasons;
    assert!(reasons[0].1.starts_with("id: "), "{reasons:?}");
    assert_eq!(reasons.len(), 2);
    // An id is made from the bytes, so that a redelivery is the same dead letter.
    assert_eq!((reasons[0].0.len(), reasons[1].0.len()), (64, 64));
}

#[tokio::test]
async fn a_reason_that_cannot_be_stored_brings_the_message_again() {
    let handler = Scripted::new(|_, _| Step::Panic);
    let mut handler = Arc::into_inner(handler).unwrap();
    handler.stores = false;
    let body = bulk(&[("1", event("a")), ("2", json!({}))]);
    let answer = deliver(&router(Arc::new(handler)), &body).await;
    assert_eq!(answer, (200, statuses(&[("1", "RETRY"), ("2", "RETRY")])));
}

#[tokio::test]
async fn a_panic_is_narrowed_down_in_order_and_the_rest_is_handled() {
    let handler = Scripted::new(|delivery, _| {
        if matches!(delivery.event.id.as_str(), "2" | "5") { Step::Panic } else { Step::Answer(Status::Success) }
    });
    let ids = ["0", "1", "2", "3", "4", "5", "6"];
    let body = bulk(&ids.map(|id| (id, event(id))));
    let (status, answer) = deliver(&router(handler.clone()), &body).await;
    let expected = ids.map(|id| (id, if matches!(id, "2" | "5") { "DROP" } else { "SUCCESS" }));
    assert_eq!((status, answer), (200, statuses(&expected)));
    let order: Vec<String> = handler.seen().answered.into_iter().map(|(delivery, _)| delivery.event.id).collect();
    assert_eq!(order, ids);
    assert_eq!(handler.seen().reasons.len(), 2);
}

/// Panics wherever it can.
struct Hopeless;

#[async_trait]
impl BulkHandler for Hopeless {
    async fn handle(&self, _: Vec<Delivery>) -> Vec<Status> {
        panic!("handle")
    }
    async fn dropped(&self, _: &Delivery, _: &str) -> Status {
        panic!("dropped")
    }
    async fn rejected(&self, _: &Delivery, _: &ApiError) -> Status {
        panic!("rejected")
    }
}

#[tokio::test]
async fn a_handler_that_panics_everywhere_blocks_nothing() {
    let body = bulk(&[("1", event("a")), ("2", json!({})), ("3", event("c"))]);
    let answer = deliver(&router(Arc::new(Hopeless)), &body).await;
    assert_eq!(answer, (200, statuses(&[("1", "DROP"), ("2", "DROP"), ("3", "DROP")])));
}

#[tokio::test]
async fn a_single_event_gets_a_single_answer() {
    let handler = Scripted::always(Status::Success);
    let router = router(handler.clone());
    assert_eq!(deliver(&router, &event("a")).await, (200, json!({"status": "SUCCESS"})));
    assert_eq!(deliver(&router, &json!({"hello": 1})).await, (200, json!({"status": "DROP"})));
    let garbage = send(&router, Method::POST, "/t", None, b"{no json".to_vec()).await;
    assert_eq!(garbage, (200, json!({"status": "DROP"})));
    let seen = handler.seen();
    assert_eq!((seen.batches.len(), seen.reasons.len()), (1, 2));
    assert!(seen.reasons[1].1.contains("malformed JSON"), "{:?}", seen.reasons);
}

#[tokio::test]
async fn a_batch_without_usable_entries_is_a_bad_request_that_names_the_field() {
    let body = json!({"entries": [{"event": event("a")}]});
    let (status, answer) = deliver(&router(Scripted::always(Status::Success)), &body).await;
    assert_eq!((status, &answer["error"]["field"]), (400, &json!("entries[0].entryId")));
}

#[tokio::test]
async fn a_raw_subscription_takes_any_bytes() {
    let handler = Scripted::always(Status::Success);
    let dead = Subscription::bulk("events-dead", "dead-letter", "/t", 100, 20).raw_payload();
    let router = subscription_router(vec![(dead, handler.clone())], None);
    let encode = |bytes: &[u8]| json!(BASE64_STANDARD.encode(bytes));
    let bytes = event("a").to_string();
    let body = bulk(&[("1", encode(bytes.as_bytes())), ("2", encode(b"\xff\xfe")), ("3", json!({"odd": 1}))]);
    let answer = deliver(&router, &body).await;
    assert_eq!(answer, (200, statuses(&[("1", "SUCCESS"), ("2", "SUCCESS"), ("3", "SUCCESS")])));
    let batch = handler.seen().batches.remove(0);
    assert_eq!((batch[0].bytes.as_ref(), batch[0].wrapped), (bytes.as_bytes(), false));
    assert_eq!((batch[0].event.id.as_str(), batch[0].event.source.as_str()), ("a", "s"));
    assert_eq!((batch[1].bytes.as_ref(), batch[1].wrapped), (&b"\xff\xfe"[..], true));
    assert_eq!((batch[2].bytes.as_ref(), batch[2].event.source.as_str()), (&br#"{"odd":1}"#[..], "unknown"));
}

#[tokio::test]
async fn only_the_sidecar_gets_in() {
    let handler = Scripted::always(Status::Success);
    let list = vec![(Subscription::bulk("agent-pubsub", "t", "/t", 20, 5), handler.clone() as Arc<dyn BulkHandler>)];
    let router = subscription_router(list, Some("token".to_owned()));
    for (method, path) in [(Method::GET, "/dapr/subscribe"), (Method::POST, "/t")] {
        for (token, status) in [(None, 401), (Some(""), 403), (Some("tokeN"), 403), (Some("token2"), 403)] {
            let body = event("a").to_string().into_bytes();
            let answer = send(&router, method.clone(), path, token, body).await;
            assert_eq!(answer.0, status, "{method} {path} {token:?}");
            assert!(!answer.1.to_string().contains("token2"));
        }
    }
    assert!(handler.ids().is_empty());
    let list = send(&router, Method::GET, "/dapr/subscribe", Some("token"), vec![]).await;
    assert_eq!((list.0, &list.1[0]["route"]), (200, &json!("/t")));
    assert_eq!(send(&router, Method::POST, "/t", Some("token"), event("a").to_string().into_bytes()).await.0, 200);
}

#[tokio::test]
async fn a_delivery_may_be_large_but_not_endless() {
    let handler = Scripted::always(Status::Success);
    let router = router(handler.clone());
    let large = |bytes: usize| {
        let mut large = event("a");
        large["data"] = json!("x".repeat(bytes));
        large
    };
    let body = bulk(&[("1", large(20 << 20)), ("2", large(600 << 10)), ("3", large(400 << 10))]);
    assert_eq!(deliver(&router, &body).await, (200, statuses(&[("1", "DROP"), ("2", "DROP"), ("3", "SUCCESS")])));
    let reasons = handler.seen().reasons;
    assert!(reasons.len() == 2 && reasons[0].1.starts_with("body: a message has at most"), "{reasons:?}");
    let (status, answer) = send(&router, Method::POST, "/t", None, vec![b' '; (32 << 20) + 1]).await;
    assert_eq!((status, &answer["error"]["type"]), (413, &json!("payload_too_large")));
}
