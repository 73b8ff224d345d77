//! How the adapter to Dapr reads what a sidecar answers, and what it sends.

use std::{sync::Arc, time::Duration};

use mesh_six_core::time;
use mesh_six_sidecar::{Condition, DaprConfig, DaprConfigError, DaprSidecar, Sidecar, SidecarError};
use serde_json::{Value, json};
use wiremock::{
    Mock, MockServer, Request, ResponseTemplate,
    matchers::{method, path},
};

use crate::support::{TRACEPARENT, message, messages};

const TOKEN: &str = "hunter2";

fn sidecar(server: &MockServer) -> Arc<DaprSidecar> {
    DaprSidecar::new(DaprConfig {
        base_url: server.uri(),
        api_token: Some(TOKEN.to_owned()),
        // Long enough for a few tries on a busy machine.
        publish_wait: Duration::from_secs(2),
        ..DaprConfig::new("app")
    })
    .unwrap()
}

fn answer(status: u16) -> ResponseTemplate {
    ResponseTemplate::new(status)
}

fn dapr_error(status: u16, code: &str, message: &str) -> ResponseTemplate {
    answer(status).set_body_json(json!({"errorCode": code, "message": message}))
}

/// Answers every request with `template`.
async fn always(server: &MockServer, template: ResponseTemplate) {
    Mock::given(wiremock::matchers::any()).respond_with(template).mount(server).await;
}

async fn requests(server: &MockServer) -> Vec<Request> {
    server.received_requests().await.unwrap()
}

fn is_unavailable<T>(answer: &Result<T, SidecarError>) -> bool {
    matches!(answer, Err(SidecarError::Unavailable(_)))
}

fn refused_with<T>(answer: &Result<T, SidecarError>) -> Option<u16> {
    match answer {
        Err(SidecarError::Refused { status, .. }) => Some(*status),
        _ => None,
    }
}

#[tokio::test]
async fn a_publish_is_tried_again_with_the_same_envelope() {
    let server = MockServer::start().await;
    let broker_away = dapr_error(500, "ERR_PUBSUB_PUBLISH_MESSAGE", "channel not initialized");
    Mock::given(method("POST")).respond_with(broker_away).up_to_n_times(2).mount(&server).await;
    Mock::given(path("/v1.0/publish/agent-pubsub/tasks.a")).respond_with(answer(204)).mount(&server).await;
    let mut sent = message("tasks.a", json!({"n": 1}));
    sent.traceparent = Some(TRACEPARENT.to_owned());
    sidecar(&server).publish(sent.clone()).await.unwrap();

    let requests = requests(&server).await;
    assert_eq!(requests.len(), 3);
    assert!(requests.iter().all(|request| request.body == requests[0].body));
    let header = |name: &str| requests[2].headers[name].to_str().unwrap().to_owned();
    assert_eq!(header("content-type"), "application/cloudevents+json");
    assert_eq!((header("dapr-api-token"), header("traceparent")), (TOKEN.to_owned(), TRACEPARENT.to_owned()));
    let envelope: Value = requests[2].body_json().unwrap();
    let expected = json!({
        "id": sent.id, "source": "app", "type": "com.dapr.event.sent", "specversion": "1.0",
        "datacontenttype": "application/json", "data": {"n": 1}, "topic": "tasks.a", "pubsubname": "agent-pubsub",
        "traceid": TRACEPARENT, "traceparent": TRACEPARENT, "time": time::format(sent.time),
    });
    assert_eq!(envelope, expected);
}

#[tokio::test]
async fn a_publish_gives_up_while_the_broker_or_the_sidecar_is_away() {
    let server = MockServer::start().await;
    let secret = "dial amqp://user:geheim@rabbit";
    always(&server, dapr_error(500, "ERR_PUBSUB_PUBLISH_MESSAGE", secret)).await;
    let error = sidecar(&server).publish(message("t", json!(1))).await.unwrap_err();
    assert_eq!(error.to_string(), "the sidecar is unavailable: it answered 500 ERR_PUBSUB_PUBLISH_MESSAGE");
    assert!(requests(&server).await.len() > 2);

    let gone = DaprSidecar::new(DaprConfig {
        base_url: "http://127.0.0.1:1".to_owned(),
        publish_wait: Duration::from_secs(1),
        ..DaprConfig::new("app")
    });
    let gone = gone.unwrap();
    let error = gone.publish(message("t", json!(1))).await.unwrap_err();
    assert_eq!(error.to_string(), "the sidecar is unavailable: it cannot be reached");
    let answers = gone.publish_bulk(messages("t", 2)).await;
    assert!(answers.len() == 2 && answers.iter().all(is_unavailable));
    assert!(!gone.outbound_ready().await && !gone.subscribed().await);
}

#[tokio::test]
async fn a_publish_cut_by_the_clock_tells_what_was_answered_before() {
    let server = MockServer::start().await;
    let once = Mock::given(wiremock::matchers::any()).respond_with(dapr_error(500, "ERR_FIRST", "")).up_to_n_times(1);
    once.mount(&server).await;
    always(&server, answer(204).set_delay(Duration::from_mins(1))).await;
    let answers = sidecar(&server).publish_bulk(messages("t", 2)).await;
    for answer in answers {
        assert_eq!(answer.unwrap_err().to_string(), "the sidecar is unavailable: it answered 500 ERR_FIRST");
    }
    assert_eq!(requests(&server).await.len(), 2);
}

#[tokio::test]
async fn what_can_never_succeed_is_refused_at_once() {
    for (status, said) in [(400, "ERR_X why"), (403, "ERR_X why"), (404, "ERR_X why"), (401, "DAPR_API_TOKEN")] {
        let server = MockServer::start().await;
        always(&server, dapr_error(status, "ERR_X", "why")).await;
        let sidecar = sidecar(&server);
        let answer = sidecar.publish(message("t", json!(1))).await;
        assert_eq!(refused_with(&answer), Some(status));
        let text = answer.unwrap_err().to_string();
        assert!(text.contains(said) && !text.contains(TOKEN), "{text}");
        assert_eq!(requests(&server).await.len(), 1);
        assert_eq!(refused_with(&sidecar.publish_bulk(messages("t", 1)).await[0]), Some(status));
        assert_eq!(requests(&server).await.len(), 2);
    }
    let server = MockServer::start().await;
    let sidecar = sidecar(&server);
    let huge = message("t", json!("x".repeat(1 << 20)));
    assert_eq!(refused_with(&sidecar.publish(huge).await), Some(413));
    for topic in ["", ".", ".."] {
        assert_eq!(refused_with(&sidecar.publish(message(topic, json!(1))).await), Some(400));
        assert_eq!(refused_with(&sidecar.publish_bulk(messages(topic, 1)).await[0]), Some(400));
    }
    assert!(requests(&server).await.is_empty());
}

#[tokio::test]
async fn a_redirect_is_not_followed_and_an_endless_answer_not_read() {
    let server = MockServer::start().await;
    always(&server, answer(307).insert_header("location", "http://127.0.0.1:1/")).await;
    let sidecar_here = sidecar(&server);
    assert_eq!(refused_with(&sidecar_here.get_state("k").await), Some(307));
    let server = MockServer::start().await;
    always(&server, answer(200).set_body_bytes(vec![b' '; 5 << 20])).await;
    assert_eq!(refused_with(&sidecar(&server).get_state("k").await), Some(502));
}

#[tokio::test]
async fn of_a_bulk_only_what_failed_is_sent_again() {
    let server = MockServer::start().await;
    let failed = json!({
        "failedEntries": [{"entryId": "1", "error": "not confirmed"}], "errorCode": "ERR_PUBSUB_PUBLISH_MESSAGE",
    });
    Mock::given(method("POST")).respond_with(answer(500).set_body_json(failed)).up_to_n_times(1).mount(&server).await;
    Mock::given(path("/v1.0/publish/bulk/agent-pubsub/t")).respond_with(answer(204)).mount(&server).await;
    let sent = messages("t", 3);
    let again = sent[1].id.clone();
    let answers = sidecar(&server).publish_bulk(sent).await;
    assert!(answers.len() == 3 && answers.iter().all(Result::is_ok), "{answers:?}");
    let requests = requests(&server).await;
    let entries: Vec<Vec<Value>> = requests.iter().map(|request| request.body_json().unwrap()).collect();
    assert_eq!(entries.iter().map(Vec::len).collect::<Vec<_>>(), [3, 1]);
    assert_eq!((&entries[1][0]["event"]["id"], &entries[1][0]["entryId"]), (&json!(again), &json!("0")));
    assert_eq!(entries[0][0]["contentType"], "application/cloudevents+json");
}

#[tokio::test]
async fn of_a_bulk_each_message_has_its_own_answer() {
    let server = MockServer::start().await;
    let failed = json!({"failedEntries": [{"entryId": "0"}], "errorCode": "ERR_PUBSUB_PUBLISH_MESSAGE"});
    Mock::given(path("/v1.0/publish/bulk/agent-pubsub/away"))
        .respond_with(answer(500).set_body_json(failed))
        .mount(&server)
        .await;
    Mock::given(path("/v1.0/publish/bulk/agent-pubsub/forbidden"))
        .respond_with(dapr_error(403, "ERR_PUBSUB_FORBIDDEN", "topic is not allowed"))
        .mount(&server)
        .await;
    Mock::given(path("/v1.0/publish/bulk/agent-pubsub/good")).respond_with(answer(204)).mount(&server).await;
    let topics = ["away", "forbidden", "good", "away", "", "good"];
    let sent = topics.iter().map(|topic| message(topic, json!(1))).collect();
    let answers = sidecar(&server).publish_bulk(sent).await;
    assert!(is_unavailable(&answers[0]) && answers[3].is_ok(), "{answers:?}");
    assert_eq!((refused_with(&answers[1]), refused_with(&answers[4])), (Some(403), Some(400)));
    assert!(answers[2].is_ok() && answers[5].is_ok());
}

#[tokio::test]
async fn a_bulk_is_cut_into_requests_that_dapr_takes() {
    let server = MockServer::start().await;
    always(&server, answer(204)).await;
    let sidecar = sidecar(&server);
    assert!(sidecar.publish_bulk(messages("t", 250)).await.iter().all(Result::is_ok));
    let large = (0..9).map(|_| message("t", json!("x".repeat(400 << 10)))).collect();
    assert!(sidecar.publish_bulk(large).await.iter().all(Result::is_ok));
    let requests = requests(&server).await;
    let counts: Vec<usize> = requests.iter().map(|r| r.body_json::<Vec<Value>>().unwrap().len()).collect();
    assert_eq!(counts, [100, 100, 50, 5, 4]);
    assert!(requests.iter().all(|request| request.body.len() < 4 << 20));
}

#[tokio::test]
async fn a_store_that_is_away_or_makes_no_sense_is_an_error() {
    let server = MockServer::start().await;
    always(&server, dapr_error(500, "ERR_STATE_GET", "fail to get k from state store")).await;
    let here = sidecar(&server);
    assert!(is_unavailable(&here.get_state("k").await) && is_unavailable(&here.delete_state("k").await));
    assert!(is_unavailable(&here.get_state_bulk(&["k".to_owned()]).await));
    for condition in [Condition::None, Condition::Absent, Condition::Match("1".to_owned())] {
        assert!(is_unavailable(&here.set_state("k", json!(1), condition, None).await));
    }
    let keys = ["a".to_owned(), "b".to_owned()];
    for (rows, unavailable) in [
        (json!([{"key": "a"}, {"key": "b", "error": "timeout"}]), true),
        (json!({"key": "a"}), false),
        (json!([{"data": 1}]), false),
    ] {
        let server = MockServer::start().await;
        always(&server, answer(200).set_body_json(rows)).await;
        let got = sidecar(&server).get_state_bulk(&keys).await;
        assert_eq!((is_unavailable(&got), refused_with(&got)), (unavailable, (!unavailable).then_some(502)));
    }
}

#[tokio::test]
async fn who_loses_the_race_for_a_first_write_has_a_conflict() {
    let server = MockServer::start().await;
    let absent = Mock::given(method("GET")).respond_with(answer(204)).up_to_n_times(1);
    absent.mount(&server).await;
    let there = answer(200).set_body_json(json!("other")).insert_header("etag", "1");
    Mock::given(method("GET")).respond_with(there).mount(&server).await;
    Mock::given(method("POST"))
        .respond_with(dapr_error(500, "ERR_STATE_SAVE", "failed to set key"))
        .mount(&server)
        .await;
    let answer = sidecar(&server).set_state("k", json!(1), Condition::Absent, None).await;
    assert!(matches!(answer, Err(SidecarError::Conflict)), "{answer:?}");
}

#[tokio::test]
async fn a_write_without_ttl_takes_an_earlier_one_away_and_a_ttl_is_rounded_up() {
    let server = MockServer::start().await;
    always(&server, answer(204)).await;
    let sidecar = sidecar(&server);
    for ttl in [None, Some(Duration::from_millis(1)), Some(Duration::from_millis(2_001))] {
        sidecar.set_state("k", json!(1), Condition::None, ttl).await.unwrap();
    }
    let sent = requests(&server).await;
    let seconds: Vec<Value> =
        sent.iter().map(|r| r.body_json::<Value>().unwrap()[0]["metadata"]["ttlInSeconds"].clone()).collect();
    assert_eq!(seconds, [json!("-1"), json!("1"), json!("3")]);
}

#[tokio::test]
async fn an_invocation_tells_the_sidecars_errors_from_the_services() {
    let limit = Duration::from_secs(10);
    for (template, expected) in [
        (dapr_error(500, "ERR_DIRECT_INVOKE", "failed to invoke, id: b, err: couldn't find service: b"), Some(404)),
        (dapr_error(403, "ERR_DIRECT_INVOKE", "rpc error: code = PermissionDenied"), Some(403)),
        (dapr_error(500, "ERR_DIRECT_INVOKE", "failed to invoke, id: b, err: connection refused"), None),
        (answer(401).set_body_string("invalid api token\n"), Some(401)),
    ] {
        let server = MockServer::start().await;
        always(&server, template).await;
        let got = sidecar(&server).invoke("b", "/x", json!({}), None, limit).await;
        assert_eq!((refused_with(&got), is_unavailable(&got)), (expected, expected.is_none()), "{got:?}");
    }
    let server = MockServer::start().await;
    always(&server, answer(500).set_body_json(json!({"error": {"type": "unhandled"}}))).await;
    let here = sidecar(&server);
    let got = here.invoke("b", "/x", json!({}), Some("no trace\n"), limit).await.unwrap();
    assert_eq!((got.status, got.body), (500, json!({"error": {"type": "unhandled"}})));
    assert!(!requests(&server).await[0].headers.contains_key("traceparent"));
    for path in ["../../../publish/agent-pubsub/t", "/a/%2e%2e/%2e%2e/%2e%2e/state", "/x#y"] {
        let got = here.invoke("b", path, json!({}), None, limit).await;
        assert_eq!(refused_with(&got), Some(400), "{path}");
    }
    assert_eq!(refused_with(&here.invoke("", "/x", json!({}), None, limit).await), Some(400));
    assert_eq!(requests(&server).await.len(), 1);
}

#[tokio::test]
async fn ready_is_204_and_nothing_else() {
    for (status, ready) in [(204, true), (200, false), (500, false)] {
        let server = MockServer::start().await;
        always(&server, answer(status)).await;
        let sidecar = sidecar(&server);
        assert_eq!((sidecar.outbound_ready().await, sidecar.subscribed().await), (ready, ready));
        let paths: Vec<String> = requests(&server).await.iter().map(|r| r.url.path().to_owned()).collect();
        assert_eq!(paths, ["/v1.0/healthz/outbound", "/v1.0/healthz"]);
    }
}

#[test]
fn a_configuration_that_cannot_work_is_refused() {
    let config = DaprConfig::new("app");
    assert_eq!((config.pubsub.as_str(), config.state_store.as_str()), ("agent-pubsub", "agent-statestore"));
    assert_eq!(DaprSidecar::new(config.clone()).unwrap().app_id(), "app");
    let wrong = DaprConfig { base_url: "localhost:3500".to_owned(), ..config.clone() };
    assert!(matches!(DaprSidecar::new(wrong), Err(DaprConfigError::Url)));
    let wrong = DaprConfig { app_id: String::new(), ..config };
    assert!(matches!(DaprSidecar::new(wrong), Err(DaprConfigError::AppId)));
}
