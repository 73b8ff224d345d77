//! The live tail. On a server of its own, since others' open transactions would hold it back.

use std::{collections::BTreeSet, time::Duration};

use axum::{
    Router,
    body::{Body, BodyDataStream},
    http::{Request, StatusCode},
};
use futures_util::StreamExt;
use mesh_six_core::{Event, StoredEvent, TraceId, event::Position};
use mesh_six_db::events::{EventLog, HorizonReport};
use mesh_six_testing::{TestServer, wait_until};
use serde_json::json;
use tokio::time::timeout;
use tower::ServiceExt;

use crate::rig::{Service, TOKEN};

const PATIENCE: Duration = Duration::from_secs(30);
/// Events in all.
const END: u64 = 600;

/// A client of server-sent events.
struct Reader {
    stream: BodyDataStream,
    text: String,
    /// Of the last block that had one.
    id: String,
}

impl Reader {
    /// Opens a tail; its answer begins with the position from which it follows.
    async fn open(router: &Router, query: &str, last: Option<&str>) -> Self {
        let mut request = Request::get(format!("/api/v1/events/tail{query}"));
        if let Some(id) = last {
            request = request.header("Last-Event-ID", id);
        }
        let answer = router.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        assert_eq!(answer.headers()["content-type"], "text/event-stream");
        let mut reader = Self { stream: answer.into_body().into_data_stream(), text: String::new(), id: String::new() };
        let first = reader.block().await.unwrap();
        assert!(first.starts_with("id: ") && !first.contains("data:"), "{first}");
        first["id: ".len()..].parse::<Position>().unwrap();
        reader
    }

    /// The next block, whose id is kept; `None` at the end of the stream.
    async fn block(&mut self) -> Option<String> {
        loop {
            if let Some(end) = self.text.find("\n\n") {
                let block: String = self.text.drain(..end + 2).collect();
                if let Some(id) = block.lines().find_map(|l| l.strip_prefix("id: ")) {
                    id.clone_into(&mut self.id);
                }
                return Some(block.trim_end().to_owned());
            }
            let chunk = timeout(PATIENCE, self.stream.next()).await.expect("the tail is silent")?;
            self.text.push_str(std::str::from_utf8(&chunk.unwrap()).unwrap());
        }
    }

    /// The next event.
    async fn event(&mut self) -> StoredEvent {
        loop {
            let block = self.block().await.expect("the tail has ended");
            if let Some(data) = block.lines().find_map(|l| l.strip_prefix("data: ")) {
                let event: StoredEvent = serde_json::from_str(data).unwrap();
                assert_eq!(event.position.to_string(), self.id);
                return event;
            }
        }
    }

    async fn number(&mut self) -> u64 {
        self.event().await.event.payload["n"].as_u64().unwrap()
    }
}

fn event(number: u64) -> Event {
    let event_type = if number.is_multiple_of(2) { "test.even" } else { "test.odd" };
    Event::new(event_type, "tests", TraceId::new(), json!({ "n": number }))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tail_that_is_cut_again_and_again_misses_nothing_and_doubles_nothing() {
    let server = TestServer::start().await;
    let db = server.database().await;
    let log = EventLog::start(db.clone());
    let service = Service::start(&db, &log, TOKEN);
    let router = &service.router;
    log.append((0..5).map(event).collect()).await.unwrap();

    // From now: what was there before is not shown.
    let mut live = Reader::open(router, "", None).await;
    log.append(vec![event(5)]).await.unwrap();
    assert_eq!(live.number().await, 5);

    // Cut before anything was shown: the first id alone is enough to come back.
    let silent = Reader::open(router, "", None).await;
    let id = silent.id.clone();
    drop(silent);
    log.append(vec![event(6)]).await.unwrap();
    let mut back = Reader::open(router, "", Some(&id)).await;
    assert_eq!(back.number().await, 6);

    // Three writers, and a reader that is cut after a few events each time, sometimes before the first.
    let writers: Vec<_> = (0..3)
        .map(|writer| {
            let log = log.clone();
            tokio::spawn(async move {
                for number in (7..END).filter(|n| n % 3 == writer) {
                    log.append(vec![event(number)]).await.unwrap();
                }
            })
        })
        .collect();
    let (mut seen, mut id, mut opened) = (Vec::new(), back.id.clone(), 0_usize);
    while seen.len() < usize::try_from(END - 7).unwrap() {
        let mut reader = Reader::open(router, "", Some(&id)).await;
        for _ in 0..(opened * 7 % 40) {
            if seen.len() == usize::try_from(END - 7).unwrap() {
                break;
            }
            seen.push(reader.number().await);
        }
        id = reader.id.clone();
        opened += 1;
    }
    for writer in writers {
        writer.await.unwrap();
    }
    assert!(opened > 20, "it was cut {opened} times");
    assert_eq!(seen.iter().copied().collect::<BTreeSet<_>>(), (7..END).collect(), "nothing is missed");
    assert_eq!(seen.len(), usize::try_from(END - 7).unwrap(), "nothing is doubled");

    // The one that was never cut saw the same, in the same order.
    assert_eq!(live.number().await, 6);
    for number in &seen {
        assert_eq!(live.number().await, *number);
    }

    // The whole log; a part of it; after a position that is given as a parameter.
    let mut whole = Reader::open(router, "", Some("start")).await;
    for number in 0..7 {
        assert_eq!(whole.number().await, number);
    }
    let mut odd = Reader::open(router, "?eventType=test.odd", Some("start")).await;
    assert_eq!([odd.number().await, odd.number().await, odd.number().await], [1, 3, 5]);
    let mut after = Reader::open(router, &format!("?after={}", odd.id), None).await;
    assert_eq!(after.number().await, 6);

    // The end of the service is the end of its tails.
    service.shutdown.cancel();
    while live.block().await.is_some() {}
    service.stop().await;
}

#[tokio::test]
async fn whoever_holds_the_tails_back_is_named_with_process_and_age() {
    let server = TestServer::start().await;
    let db = server.database().await;
    let log = EventLog::start(db.clone());
    let service = Service::start(&db, &log, TOKEN);
    let horizon = async || {
        let request = Request::get("/api/v1/events/horizon").body(Body::empty()).unwrap();
        let answer = service.router.clone().oneshot(request).await.unwrap();
        let body = axum::body::to_bytes(answer.into_body(), 1 << 20).await.unwrap();
        serde_json::from_slice::<HorizonReport>(&body).unwrap()
    };
    let idle = server.client().await;
    idle.batch_execute("SET application_name = 'forgotten'; BEGIN; SELECT pg_current_xact_id()").await.unwrap();
    let pid: i32 = idle.query_one("SELECT pg_backend_pid()", &[]).await.unwrap().get(0);
    log.append(vec![event(1)]).await.unwrap();
    let held = horizon().await;
    let holder = held.holder.unwrap();
    assert!(held.behind > 0 && held.age_seconds > 0.0);
    assert_eq!(holder.to_string(), format!("forgotten (process {pid}) in database mesh_six"));
    idle.batch_execute("COMMIT").await.unwrap();
    wait_until(PATIENCE, async || horizon().await.holder.is_none()).await;
    service.stop().await;
}
