//! P10: from `POST /api/v1/tasks` to the agent's handler, over the local mesh.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context;
use async_trait::async_trait;
use mesh_six_core::{
    agent::AgentCapability,
    names::ORCHESTRATOR,
    task::{TaskError, TaskRequest},
};
use mesh_six_llm::OfflineModel;
use mesh_six_orchestrator::{self as orchestrator, OrchestratorConfig};
use mesh_six_runtime::{
    Auth, Registry,
    agent::{Agent, AgentConfig, AgentDatabase, AgentDefinition, AgentDeps, AgentService, TaskContext},
    shell,
};
use mesh_six_sidecar::LocalMesh;
use serde_json::{Value, json};
use tokio::{sync::mpsc, time::timeout};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{
    Bench,
    http::Connection,
    ingest::Server,
    load::{millis, percentile},
    report::{Figure, Target},
};
use crate::services::Storage;

const APP: &str = "bench-agent";
const CAPABILITY: &str = "bench";
/// How long a task may take to arrive.
const PATIENCE: Duration = Duration::from_secs(20);

/// An agent that only tells when it was asked.
struct Probe(mpsc::UnboundedSender<(Uuid, Instant)>);

#[async_trait]
impl Agent for Probe {
    fn definition(&self) -> AgentDefinition {
        AgentDefinition::new(APP, "Bench Agent", vec![AgentCapability::new(CAPABILITY, 1.0)])
    }

    async fn handle(&self, task: &TaskRequest, _: &TaskContext) -> Result<Value, TaskError> {
        let entered = (task.id, Instant::now());
        // Nobody listens any more once the bench is over.
        let _ = self.0.send(entered);
        Ok(json!({ "response": "done" }))
    }
}

/// One task at a time.
pub(super) async fn p10(bench: &mut Bench<'_>) -> anyhow::Result<()> {
    let shutdown = CancellationToken::new();
    let _end = shutdown.clone().drop_guard();
    let mesh = LocalMesh::new();
    let app_token = Some(mesh.app_token().to_owned());
    let storage = Storage::open(bench.db.clone());
    let config = OrchestratorConfig { app_token: app_token.clone(), ..OrchestratorConfig::default() };
    let sidecar = mesh.sidecar(ORCHESTRATOR);
    let registry = Registry::new(Arc::clone(&sidecar));
    let (db, log) = (storage.db.clone(), storage.log.clone());
    let (described, callers) = (Vec::new(), shutdown.clone());
    let deps = orchestrator::Deps { db, log, sidecar, registry, config, described, mqtt: None, callers };
    let service = orchestrator::start(deps, &shutdown);
    let router = shell(service.info.clone(), service.routes.clone(), service.health.clone(), Auth::internal());
    mesh.attach(ORCHESTRATOR, router.clone()).await?;

    let (told, mut entered) = mpsc::unbounded_channel();
    let sidecar = mesh.sidecar(APP);
    let agent = AgentService::start(
        AgentDeps {
            agent: Arc::new(Probe(told)),
            config: AgentConfig { app_token, ..AgentConfig::default() },
            registry: Registry::new(Arc::clone(&sidecar)),
            sidecar,
            model: Arc::new(OfflineModel),
            database: Some(AgentDatabase {
                db: storage.db.clone(),
                log: storage.log.clone(),
                sink: storage.sink.clone(),
            }),
            mqtt: None,
        },
        shutdown.clone(),
    );
    mesh.attach(APP, agent.router(Auth::internal())).await?;
    let ready = async {
        while !(agent.health().is_ready() && service.health.is_ready()) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, ready).await.context("the agent did not become ready")?;

    let server = Server::start(router, CancellationToken::new()).await?;
    let times = dispatch(bench.quick, &server, &mut entered).await?;
    let p50 = millis(percentile(&times, 50));
    let name = "dispatch: POST /tasks sent to handler entered, p50";
    bench.add(Figure::alone("P10", name, p50, "ms", Target::AtMost(3.0)));
    let p99 = millis(percentile(&times, 99));
    let note = format!("{} tasks, one at a time, accepting and persisting included; p99 {p99:.1} ms", times.len());
    bench.note("P10", note);

    shutdown.cancel();
    agent.ended().await;
    service.background.stop(Duration::from_secs(5)).await;
    mesh.shutdown().await;
    storage.sink.close().await;
    storage.log.close().await;
    Ok(())
}

async fn dispatch(
    quick: bool,
    server: &Server,
    entered: &mut mpsc::UnboundedReceiver<(Uuid, Instant)>,
) -> anyhow::Result<Vec<Duration>> {
    let mut connection = Connection::open(server.address).await?;
    let body = json!({ "capability": CAPABILITY, "payload": { "query": "bench" } }).to_string();
    let mut times = Vec::new();
    let turns = if quick { 60 } else { 300 };
    for turn in 0..turns {
        let sent = Instant::now();
        let answer: Value = serde_json::from_slice(connection.post("/api/v1/tasks", &body).await?)?;
        let id: Uuid = answer["taskId"].as_str().context("no taskId")?.parse()?;
        let at = loop {
            let (task, at) = timeout(PATIENCE, entered.recv()).await.context("a task got lost")?.context("no agent")?;
            if task == id {
                break at;
            }
        };
        // The first tasks warm up.
        if turn >= 10 {
            times.push(at.saturating_duration_since(sent));
        }
        // The next one must not meet this one's end.
        connection.get(&format!("/api/v1/tasks/{id}?wait=20")).await?;
    }
    Ok(times)
}
