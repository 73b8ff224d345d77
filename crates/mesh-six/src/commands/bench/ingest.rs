//! P3, P4: events over HTTP, as a sidecar delivers them.

use std::{net::SocketAddr, sync::Arc};

use axum::{Json, Router, body::Bytes, extract::State, http::StatusCode, routing::post};
use mesh_six_core::{
    TraceId, event::catalogue, id::new_id, names::EVENT_LOGGER, parse_value, task::TaskProgress, time,
};
use mesh_six_db::{Database, DbConfig, events::EventLog};
use mesh_six_event_logger::{self as event_logger, Deps, EventLoggerConfig};
use mesh_six_runtime::{Auth, HealthState, Routes, ServiceInfo, shell};
use mesh_six_sidecar::CloudEvent;
use serde_json::{Value, json};
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{
    Bench,
    http::Connection,
    load::{Worker, median, run},
    reference::Inserter,
    report::{Figure, Target},
    warm_up,
};

/// Clients, each on a connection of its own.
pub(super) const CONNECTIONS: usize = 64;
/// Entries of a bulk delivery.
const ENTRIES: usize = 100;
/// Connections of the reference to the database; its handlers share them.
const POOL: usize = 16;
/// Where notes of progress are delivered.
pub(super) const PATH: &str = "/events/task-progress";

/// A server in this process; ends when dropped.
pub(super) struct Server {
    pub(super) address: SocketAddr,
    _served: JoinHandle<std::io::Result<()>>,
    _end: DropGuard,
}

impl Server {
    pub(super) async fn start(router: Router, shutdown: CancellationToken) -> anyhow::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let served = tokio::spawn(mesh_six_runtime::serve(listener, router, shutdown.clone()));
        Ok(Self { address, _served: served, _end: shutdown.drop_guard() })
    }
}

/// Our event logger.
async fn ours(db: &Database, log: &EventLog) -> anyhow::Result<Server> {
    let shutdown = CancellationToken::new();
    let deps = Deps { db: db.clone(), log: log.clone(), app_token: None, config: EventLoggerConfig::default() };
    let logger = event_logger::start(deps, &shutdown);
    let router = shell(logger.info, logger.routes, logger.health, Auth::internal());
    Server::start(router, shutdown).await
}

/// The same shell, the same parsing, then one INSERT and commit per request; without connections, nothing.
async fn reference(pool: Vec<Inserter>) -> anyhow::Result<Server> {
    let delivered = Router::new().route(PATH, post(insert)).with_state(Arc::new(pool));
    let routes = Routes::new().delivered(delivered);
    let shelled = shell(ServiceInfo::new(EVENT_LOGGER), routes, HealthState::new(), Auth::internal());
    Server::start(shelled, CancellationToken::new()).await
}

async fn insert(State(pool): State<Arc<Vec<Inserter>>>, body: Bytes) -> Result<Json<Value>, StatusCode> {
    let event = CloudEvent::from_slice(&body).map_err(|_| StatusCode::BAD_REQUEST)?;
    let note: TaskProgress = parse_value(event.data).map_err(|_| StatusCode::BAD_REQUEST)?;
    let time = event.time.ok_or(StatusCode::BAD_REQUEST)?;
    let fact = catalogue::task_progress(&note, &event.source, &event.id, time);
    if let Some(connection) = fastrand::choice(pool.iter()) {
        connection.insert(fact).await.map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)?;
    }
    Ok(Json(json!({ "status": "SUCCESS" })))
}

/// A client that delivers.
pub(super) struct Deliverer {
    connection: Connection,
    entries: usize,
}

impl Deliverer {
    /// Each on a connection of its own; each delivery has so many entries, or is one message alone.
    pub(super) async fn several(address: SocketAddr, clients: usize, entries: usize) -> anyhow::Result<Vec<Self>> {
        let mut all = Vec::with_capacity(clients);
        for _ in 0..clients {
            all.push(Self { connection: Connection::open(address).await?, entries });
        }
        Ok(all)
    }
}

impl Worker for Deliverer {
    async fn work(&mut self) -> anyhow::Result<u64> {
        let entries = self.entries;
        let body = if entries == 1 { message() } else { bulk(entries) };
        let answer = self.connection.post(PATH, &body).await?;
        let stored = answer.windows(7).filter(|w| w == b"SUCCESS").count();
        anyhow::ensure!(stored == entries, "{stored} of {entries} were stored");
        Ok(u64::try_from(entries)?)
    }
}

/// A note of an agent in its envelope, of the size that a sidecar sends.
fn message() -> String {
    let (task, trace) = (new_id(), TraceId::new());
    let note = TaskProgress {
        task_id: task,
        agent_id: "bench-agent".to_owned(),
        trace_id: trace,
        status: "working".to_owned(),
        details: Some(json!({ "step": 3, "of": 7, "note": "A sentence about what is being done at the moment." })),
    };
    let envelope = json!({
        "id": new_id(), "source": "bench-agent", "type": "com.dapr.event.sent", "specversion": "1.0",
        "datacontenttype": "application/json", "topic": "task-progress", "pubsubname": "events-progress",
        "time": time::format(time::now()), "traceparent": trace.to_traceparent(), "data": note,
    });
    envelope.to_string()
}

fn bulk(entries: usize) -> String {
    let entries: Vec<String> = (0..entries)
        .map(|n| {
            let message = message();
            format!(r#"{{"entryId":"{n}","event":{message},"contentType":"application/cloudevents+json"}}"#)
        })
        .collect();
    let id = new_id();
    format!(
        r#"{{"id":"{id}","topic":"task-progress","pubsubname":"events-progress","metadata":{{}},"entries":[{}]}}"#,
        entries.join(",")
    )
}

/// P3, and P4 where it is asked for: single messages, then bulk deliveries.
pub(super) async fn p3_p4(bench: &mut Bench<'_>, p3: bool, p4: bool) -> anyhow::Result<()> {
    // A log of its own: the event logger would seal what the other figures have left, while it is measured.
    let url = bench.ground.database().await?;
    let db = Database::connect(DbConfig::new(&url, "mesh-six bench")).await?;
    let log = EventLog::start(db.clone());
    warm_up(&log).await?;
    let (ours, theirs) = (ours(&db, &log).await?, reference(Inserter::several(&url, POOL, 1).await?).await?);
    let nothing = reference(Vec::new()).await?;
    let mut ceiling = Vec::new();
    let (mut rates, mut tails) = ((Vec::new(), Vec::new()), (Vec::new(), Vec::new()));
    let mut bulks = Vec::new();
    for _ in 0..bench.rounds() {
        if p3 {
            let load = run(Deliverer::several(theirs.address, CONNECTIONS, 1).await?, bench.window()).await?;
            rates.1.push(load.rate());
            tails.1.push(load.latency(99));
            ceiling.push(run(Deliverer::several(nothing.address, CONNECTIONS, 1).await?, bench.probe()).await?.rate());
        }
        let load = run(Deliverer::several(ours.address, CONNECTIONS, 1).await?, bench.window()).await?;
        rates.0.push(load.rate());
        tails.0.push(load.latency(99));
        if p4 {
            bulks
                .push(run(Deliverer::several(ours.address, CONNECTIONS, ENTRIES).await?, bench.window()).await?.rate());
        }
    }
    let single = median(&rates.0);
    if p3 {
        let pair = (single, median(&rates.1));
        let name = "HTTP ingest, single CloudEvents, 64 connections";
        bench.add(Figure::compared("P3", name, pair, "events/s", Target::Times(2.5)));
        let pair = (median(&tails.0), median(&tails.1));
        bench.add(Figure::compared("P3-p99", "the same, p99 of a request", pair, "ms", Target::BelowReference));
        let note = format!(
            "the same shell and parsing, then one prepared INSERT and commit per request on {POOL} shared connections, \
             no keys (ours are all keyed); client, shell and parsing alone, without a database: {:.0} events/s",
            median(&ceiling)
        );
        bench.note("P3", note);
    }
    if p4 {
        let name = "HTTP ingest, bulk deliveries of 100";
        bench.add(Figure::compared("P4", name, (median(&bulks), single), "events/s", Target::Times(2.0)));
        bench.note("P4", "our own rate of single CloudEvents, as in P3");
    }
    drop(ours);
    log.close().await;
    db.close();
    Ok(())
}
