//! The local mesh: the port's conformance, and what it promises beyond.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use axum::{
    Json, Router,
    body::{Body, Bytes},
    http::StatusCode,
    response::IntoResponse,
    routing::post,
};
use futures_util::future::join_all;
use http::{HeaderMap, Method, Request};
use mesh_six_sidecar::{
    APP_TOKEN_HEADER, LocalMesh, MeshConfig, Sidecar, SidecarError, Status, Subscription, subscription_router,
};
use serde_json::{Value, json};
use tokio::time::{Instant, timeout};
use tower::ServiceExt;

use crate::{
    conformance::{Fixture, Subscriptions, conformance, forged},
    support::{Scripted, Step, dead_letters, message, messages, subscription, topic, wait_for},
};

/// A mesh with its apps as a stranger meets them.
#[derive(Default)]
struct Attached {
    mesh: LocalMesh,
    apps: Mutex<HashMap<String, Router>>,
}

#[async_trait(?Send)]
impl Fixture for Attached {
    const KEEPS_ORDER: bool = true;
    const KEEPS_NUMBERS: bool = true;
    const KNOWS_WHO_IS_AWAY: bool = false;

    async fn sidecar(&self, app_id: &str) -> Arc<dyn Sidecar> {
        self.mesh.sidecar(app_id)
    }

    async fn start_app(&self, app_id: &str, subscriptions: Subscriptions, routes: Router) {
        let app = routes.merge(subscription_router(subscriptions, Some(self.app_token())));
        self.mesh.attach(app_id, app.clone()).await.unwrap();
        self.apps.lock().unwrap().insert(app_id.to_owned(), app);
    }

    async fn stop_app(&self, app_id: &str) {
        self.mesh.detach(app_id).await;
    }

    fn app_token(&self) -> String {
        self.mesh.app_token().to_owned()
    }

    async fn knock(&self, app_id: &str, method: Method, path: &str, token: Option<&str>) -> u16 {
        let app = self.apps.lock().unwrap()[app_id].clone();
        let request = Request::builder().method(method).uri(path);
        let request = match token {
            Some(token) => request.header(APP_TOKEN_HEADER, token),
            None => request,
        };
        app.oneshot(request.body(Body::from(forged().to_string())).unwrap()).await.unwrap().status().as_u16()
    }
}

conformance!([tokio::test(start_paused = true)], Attached::default());

/// Attaches an app with one subscription.
pub(crate) async fn start(mesh: &LocalMesh, app: &str, subscription: Subscription, handler: &Arc<Scripted>) {
    let deliveries = subscription_router(vec![(subscription, handler.clone())], Some(mesh.app_token().to_owned()));
    mesh.attach(app, deliveries).await.unwrap();
}

fn is_unavailable(answer: &Result<(), SidecarError>) -> bool {
    matches!(answer, Err(SidecarError::Unavailable(_)))
}

fn is_refused(answer: &Result<(), SidecarError>, with: u16) -> bool {
    matches!(answer, Err(SidecarError::Refused { status, .. }) if *status == with)
}

#[tokio::test(start_paused = true)]
async fn publish_returns_only_after_the_answer_of_every_subscriber() {
    let (mesh, topic) = (LocalMesh::new(), topic());
    let quick = Scripted::always(Status::Success);
    let slow = Scripted::new(|_, tries| Step::Answer(if tries < 5 { Status::Retry } else { Status::Success }));
    start(&mesh, "quick", subscription(&topic, 20), &quick).await;
    start(&mesh, "slow", subscription(&topic, 20), &slow).await;
    mesh.sidecar("publisher").publish(message(&topic, json!(1))).await.unwrap();
    assert_eq!((quick.count(Status::Success), slow.count(Status::Success)), (1, 1));
    assert_eq!(mesh.under_way(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_dropped_message_is_settled_once_its_dead_letter_is() {
    let (mesh, topic, bad) = (LocalMesh::new(), topic(), Scripted::always(Status::Drop));
    let logger = Scripted::new(|_, tries| Step::Answer(if tries < 4 { Status::Retry } else { Status::Success }));
    start(&mesh, "logger", dead_letters(&topic), &logger).await;
    start(&mesh, "bad", subscription(&topic, 20), &bad).await;
    mesh.sidecar("publisher").publish(message(&topic, json!(1))).await.unwrap();
    assert_eq!((bad.seen().answered.len(), logger.count(Status::Success)), (1, 1));
    let letter = logger.seen().answered.remove(0).0;
    assert_eq!((letter.origin_app_id(), letter.origin_topic()), (Some("bad"), topic.as_str()));
}

#[tokio::test(start_paused = true)]
async fn a_publish_that_times_out_stays_queued_and_a_second_one_joins_it() {
    let (mesh, topic) = (LocalMesh::new(), topic());
    let begin = Instant::now();
    let handler = Scripted::new(move |_, _| {
        Step::Answer(if begin.elapsed() < Duration::from_secs(25) { Status::Retry } else { Status::Success })
    });
    start(&mesh, "app", subscription(&topic, 20), &handler).await;
    let (publisher, sent) = (mesh.sidecar("publisher"), message(&topic, json!(1)));
    for _ in 0..2 {
        let answer = publisher.publish(sent.clone()).await;
        assert!(is_unavailable(&answer), "{answer:?}");
        assert_eq!(mesh.under_way(), 1);
    }
    assert_eq!(begin.elapsed().as_secs(), 20);
    publisher.publish(sent.clone()).await.unwrap();
    assert_eq!(handler.count(Status::Success), 1);
    // From here on it would be a new message: nothing is left of the first.
    publisher.publish(sent).await.unwrap();
    assert_eq!(handler.count(Status::Success), 2);
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_makes_the_publisher_wait_and_then_tells_it() {
    let mesh = LocalMesh::with_config(MeshConfig { queue_capacity: 3, ..MeshConfig::default() });
    let (topic, handler) = (topic(), Scripted::always(Status::Success));
    start(&mesh, "app", subscription(&topic, 20), &handler).await;
    mesh.detach("app").await;
    let begin = Instant::now();
    let answers = mesh.sidecar("publisher").publish_bulk(messages(&topic, 5)).await;
    assert!(answers.iter().all(is_unavailable), "{answers:?}");
    assert_eq!((begin.elapsed().as_secs(), mesh.under_way()), (10, 3));
    assert!(answers[4].as_ref().unwrap_err().to_string().contains("full"));

    start(&mesh, "app", subscription(&topic, 20), &handler).await;
    wait_for("an empty queue", 0, async || mesh.under_way()).await;
    // More than fit at once, now that somebody takes them.
    assert!(mesh.sidecar("publisher").publish_bulk(messages(&topic, 20)).await.iter().all(Result::is_ok));
    assert_eq!(handler.count(Status::Success), 23);
}

#[tokio::test(start_paused = true)]
async fn a_message_that_waits_for_its_next_try_lets_the_others_pass() {
    let (mesh, topic) = (LocalMesh::new(), topic());
    let handler = Scripted::new(|delivery, tries| match delivery.event.data["n"].as_u64() {
        Some(0) if tries < 6 => Step::Answer(Status::Retry),
        _ => Step::Answer(Status::Success),
    });
    start(&mesh, "app", subscription(&topic, 1), &handler).await;
    mesh.sidecar("publisher").publish_bulk(messages(&topic, 10)).await;
    let done: Vec<u64> = handler
        .seen()
        .answered
        .iter()
        .filter(|(_, step)| *step == Step::Answer(Status::Success))
        .map(|(delivery, _)| delivery.event.data["n"].as_u64().unwrap())
        .collect();
    assert_eq!(done, [1, 2, 3, 4, 5, 6, 7, 8, 9, 0]);
}

#[tokio::test(start_paused = true)]
async fn pauses_double_and_the_event_logger_has_its_own_longest_one() {
    for (app, longest) in [("app", 15_000), ("event-logger", 5_000)] {
        let (mesh, topic, times) = (LocalMesh::new(), topic(), Arc::new(std::sync::Mutex::new(Vec::new())));
        let clock = times.clone();
        let handler = Scripted::new(move |_, tries| {
            clock.lock().unwrap().push(Instant::now());
            Step::Answer(if tries < 10 { Status::Retry } else { Status::Success })
        });
        start(&mesh, app, subscription(&topic, 1), &handler).await;
        mesh.sidecar("publisher").publish(message(&topic, json!(1))).await.unwrap_err();
        wait_for("the last try", 1, async || handler.count(Status::Success)).await;
        let times = times.lock().unwrap().clone();
        let pauses: Vec<u128> = times.windows(2).map(|pair| (pair[1] - pair[0]).as_millis()).collect();
        for (n, pause) in pauses.iter().enumerate() {
            let expected = (50 << n).min(longest);
            assert!((expected..expected + 20).contains(pause), "{app}: {pauses:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_hangs_is_cut_off_and_tried_again() {
    let (mesh, topic) = (LocalMesh::new(), topic());
    let handler = Scripted::new(|_, tries| if tries == 0 { Step::Hang } else { Step::Answer(Status::Success) });
    start(&mesh, "app", subscription(&topic, 20), &handler).await;
    let (begin, sent) = (Instant::now(), message(&topic, json!(1)));
    mesh.sidecar("publisher").publish(sent.clone()).await.unwrap_err();
    mesh.sidecar("publisher").publish(sent).await.unwrap();
    assert_eq!((begin.elapsed().as_secs(), handler.count(Status::Success)), (10, 1));
}

/// An app that answers its deliveries as `answer` says, told how often it was called before.
fn odd_app(topic: &str, answer: impl Fn(usize, &Value) -> (u16, String) + Send + Sync + Clone + 'static) -> Router {
    let calls = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let list = Json(vec![subscription(topic, 20)]);
    Router::new().route("/dapr/subscribe", axum::routing::get(async move || list)).route(
        &format!("/{topic}"),
        post(async move |Json(request): Json<Value>| {
            let (status, body) = answer(calls.fetch_add(1, std::sync::atomic::Ordering::SeqCst), &request);
            (StatusCode::from_u16(status).unwrap(), body).into_response()
        }),
    )
}

fn success(request: &Value) -> (u16, String) {
    let entries = request["entries"].as_array().unwrap();
    let statuses: Vec<Value> = entries.iter().map(|e| json!({"entryId": e["entryId"], "status": "SUCCESS"})).collect();
    (200, json!({ "statuses": statuses }).to_string())
}

#[tokio::test(start_paused = true)]
async fn odd_answers_mean_what_they_mean_to_dapr() {
    let retried = [
        (200, ""),
        (204, ""),
        (200, "no json"),
        (200, r#"{"status":"SUCCESS"}"#),
        (200, r#"{"statuses":[]}"#),
        (500, ""),
        (403, ""),
        (302, ""),
    ];
    for (status, body) in retried {
        let (mesh, topic) = (LocalMesh::new(), topic());
        let seen = Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let count = seen.clone();
        let app = odd_app(&topic, move |call, request| {
            count.store(call + 1, std::sync::atomic::Ordering::SeqCst);
            if call == 0 { (status, body.to_owned()) } else { success(request) }
        });
        mesh.attach("app", app).await.unwrap();
        mesh.sidecar("publisher").publish(message(&topic, json!(1))).await.unwrap();
        assert_eq!(seen.load(std::sync::atomic::Ordering::SeqCst), 2, "{status} {body}");
    }
    // 404 is the end of a message, without a dead letter.
    let (mesh, topic, dead) = (LocalMesh::new(), topic(), Scripted::always(Status::Success));
    start(&mesh, "logger", dead_letters(&topic), &dead).await;
    mesh.attach("app", odd_app(&topic, |_, _| (404, String::new()))).await.unwrap();
    mesh.sidecar("publisher").publish(message(&topic, json!(1))).await.unwrap();
    assert_eq!((mesh.under_way(), dead.ids().len()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_router_that_panics_is_an_answer_500() {
    let (mesh, topic) = (LocalMesh::new(), topic());
    let app = odd_app(&topic, |call, request| if call == 0 { panic!("as scripted") } else { success(request) });
    mesh.attach("app", app).await.unwrap();
    mesh.sidecar("publisher").publish(message(&topic, json!(1))).await.unwrap();
    let boom = Router::new().route("/boom", post(async |_: Bytes| -> StatusCode { panic!("as scripted") }));
    mesh.attach("boom", boom).await.unwrap();
    let answer = mesh.sidecar("x").invoke("boom", "/boom", json!({}), None, Duration::from_secs(1)).await.unwrap();
    assert_eq!(answer.status, 500);
}

#[tokio::test(start_paused = true)]
async fn without_room_for_a_dead_letter_the_message_is_kept() {
    let mesh = LocalMesh::with_config(MeshConfig { queue_capacity: 1, ..MeshConfig::default() });
    let (topic, bad, dead) = (topic(), Scripted::always(Status::Drop), Scripted::always(Status::Success));
    start(&mesh, "logger", dead_letters(&topic), &dead).await;
    mesh.detach("logger").await;
    start(&mesh, "bad", subscription(&topic, 20), &bad).await;
    let publisher = mesh.sidecar("publisher");
    for _ in 0..2 {
        publisher.publish(message(&topic, json!(1))).await.unwrap_err();
    }
    assert_eq!(mesh.under_way(), 2);
    start(&mesh, "logger", dead_letters(&topic), &dead).await;
    wait_for("both dead letters", 0, async || mesh.under_way()).await;
    assert_eq!(dead.count(Status::Success), 2);
}

#[tokio::test(start_paused = true)]
async fn a_subscription_that_cannot_work_is_refused() {
    let mesh = LocalMesh::new();
    let attach = async |list: Vec<Subscription>| {
        let routes = Router::new().route("/dapr/subscribe", axum::routing::get(async move || Json(list)));
        mesh.attach("app", routes).await
    };
    let (mut single, mut endless) = (subscription("t", 1), subscription("t", 1));
    single.bulk_subscribe.enabled = false;
    endless.dead_letter_topic = Some("t".to_owned());
    for list in [vec![single], vec![endless], vec![subscription("t", 1), subscription("t", 2)]] {
        let answer = attach(list).await;
        assert!(is_refused(&answer, 400), "{answer:?}");
    }
    assert!(!mesh.sidecar("app").subscribed().await);
    attach(vec![subscription("t", 1)]).await.unwrap();
    assert!(is_refused(&attach(vec![]).await, 409));
    // An app that subscribes to nothing needs no such route.
    mesh.attach("plain", Router::new()).await.unwrap();
    assert!(mesh.sidecar("plain").subscribed().await);
}

#[tokio::test(start_paused = true)]
async fn a_malformed_or_oversized_message_is_refused() {
    let (mesh, handler) = (LocalMesh::new(), Scripted::always(Status::Success));
    start(&mesh, "app", subscription("t", 1), &handler).await;
    let publisher = mesh.sidecar("publisher");
    let mut nameless = message("t", json!(1));
    nameless.id.clear();
    assert!(is_refused(&publisher.publish(nameless).await, 400));
    assert!(is_refused(&publisher.publish(message("", json!(1))).await, 400));
    assert!(is_refused(&publisher.publish(message("t", json!("x".repeat(600 * 1024)))).await, 413));
    publisher.publish(message("t", json!("x".repeat(256 * 1024)))).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_invoked_app_sees_the_tokens() {
    let mesh = LocalMesh::with_config(MeshConfig { api_token: Some("s3cret".to_owned()), ..MeshConfig::default() });
    let show = async |headers: HeaderMap| {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        Json(json!([text("authorization"), text("dapr-api-token"), text("host")]))
    };
    mesh.attach("app", Router::new().route("/show", post(show))).await.unwrap();
    let caller = mesh.sidecar("caller");
    let answer = caller.invoke("app", "/show", json!({}), None, Duration::from_secs(1)).await.unwrap();
    assert_eq!(answer.body, json!(["Bearer s3cret", mesh.app_token(), "localhost"]));
    let bad = caller.invoke("app", "/show", json!({}), Some("a\nb"), Duration::from_secs(1)).await.unwrap_err();
    assert!(matches!(bad, SidecarError::Refused { status: 400, .. }));
    assert_ne!(mesh.app_token(), LocalMesh::new().app_token());
}

#[tokio::test(start_paused = true)]
async fn shutdown_drains_and_tells_those_who_still_wait() {
    let (mesh, topic, stuck) = (LocalMesh::new(), topic(), topic());
    let (handler, never) = (Scripted::always(Status::Success), Scripted::always(Status::Retry));
    start(&mesh, "app", subscription(&topic, 20), &handler).await;
    start(&mesh, "never", subscription(&stuck, 20), &never).await;
    let publisher = mesh.sidecar("publisher");
    let (good, bad) = (publisher.publish_bulk(messages(&topic, 100)), publisher.publish(message(&stuck, json!(1))));
    let end = async {
        wait_for("all published", true, async || mesh.under_way() > 0).await;
        mesh.shutdown().await;
    };
    let (good, bad, ()) = timeout(Duration::from_secs(9), async { tokio::join!(good, bad, end) }).await.unwrap();
    assert!(good.iter().all(Result::is_ok));
    assert!(is_unavailable(&bad), "{bad:?}");
    assert_eq!((handler.count(Status::Success), mesh.under_way()), (100, 0));

    assert!(is_unavailable(&publisher.publish(message(&topic, json!(1))).await));
    assert!(is_unavailable(&mesh.attach("late", Router::new()).await));
    assert!(!publisher.outbound_ready().await && !mesh.sidecar("app").subscribed().await);
    mesh.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_publisher_that_gives_up_while_it_waits_for_room_leaves_nothing_behind() {
    let mesh = LocalMesh::with_config(MeshConfig { queue_capacity: 1, ..MeshConfig::default() });
    let (topic, handler) = (topic(), Scripted::always(Status::Success));
    start(&mesh, "app", subscription(&topic, 20), &handler).await;
    mesh.detach("app").await;
    let (publisher, second) = (mesh.sidecar("publisher"), message(&topic, json!(2)));
    publisher.publish(message(&topic, json!(1))).await.unwrap_err();
    timeout(Duration::from_secs(1), publisher.publish(second.clone())).await.unwrap_err();
    assert_eq!(mesh.under_way(), 1);
    start(&mesh, "app", subscription(&topic, 20), &handler).await;
    publisher.publish(second).await.unwrap();
    assert_eq!(handler.ids().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_batch_never_exceeds_what_a_delivery_may_have() {
    let (mesh, topic, handler) = (LocalMesh::new(), topic(), Scripted::always(Status::Drop));
    let dead = Scripted::always(Status::Success);
    start(&mesh, "logger", dead_letters(&topic), &dead).await;
    start(&mesh, "app", subscription(&topic, 100), &handler).await;
    let large = json!("x".repeat(500 * 1024));
    let sent = (0..70).map(|_| message(&topic, large.clone())).collect();
    assert!(mesh.sidecar("publisher").publish_bulk(sent).await.iter().all(Result::is_ok));
    assert_eq!((handler.count(Status::Drop), dead.count(Status::Success)), (70, 70));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_publishers_and_subscribers_at_once_lose_and_double_nothing() {
    let mesh = LocalMesh::with_config(MeshConfig {
        first_pause: Duration::from_millis(1),
        longest_pause: Duration::from_millis(20),
        queue_capacity: 64,
        publish_wait: Duration::from_mins(1),
        ..MeshConfig::default()
    });
    let flaky = || {
        Scripted::new(|delivery, tries| match delivery.event.data["n"].as_u64().unwrap() {
            n if n % 7 == 0 && tries < 3 => Step::Answer(Status::Retry),
            n if n % 13 == 0 => Step::Panic,
            n if n % 17 == 0 && tries < 1 => Step::Missing,
            _ => Step::Answer(Status::Success),
        })
    };
    let (topic, apps, dead) = (topic(), [flaky(), flaky(), flaky()], Scripted::always(Status::Success));
    start(&mesh, "logger", dead_letters(&topic), &dead).await;
    for (n, handler) in apps.iter().enumerate() {
        start(&mesh, &format!("app{n}"), subscription(&topic, 20), handler).await;
    }
    let publishers = (0..8).map(|n| {
        let (publisher, sent) = (mesh.sidecar(&format!("publisher{n}")), messages(&topic, 100));
        tokio::spawn(async move { publisher.publish_bulk(sent).await })
    });
    for answers in join_all(publishers).await {
        assert!(answers.unwrap().iter().all(Result::is_ok));
    }
    // Of 0 to 99, eight are multiples of 13 and never succeed.
    for handler in &apps {
        assert_eq!(handler.count(Status::Success), 8 * 92);
    }
    assert_eq!((dead.count(Status::Success), mesh.under_way()), (3 * 8 * 8, 0));
}
