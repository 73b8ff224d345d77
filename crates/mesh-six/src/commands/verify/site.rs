//! The mesh that is looked at: its addresses, its database if there is one, and the task that most checks share.

use std::time::Duration;

use anyhow::{Context, ensure};
use mesh_six_core::{StoredEvent, time};
use mesh_six_db::{Database, DbConfig};
use reqwest::{Method, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::{sync::OnceCell, time::Instant};
use uuid::Uuid;

use super::{around::Around, cluster::Cluster};
use crate::{
    cli::{CriteriaArgs, Target},
    client::{self, Client},
    commands::{submit::wait::submit_and_wait, task_view::TaskView},
    up::database,
};

/// Whom the tasks are for; marks them as ours.
pub(crate) const MARK: &str = "mesh-six-verify";
/// A word of the tasks' questions that must not show up where content does not belong.
pub(crate) const WORD: &str = "quokkaverification";
/// How long a task may take (M1.11).
const TASK: Duration = Duration::from_mins(1);
/// How long its events may take to be seen by a reader.
const SEEN: Duration = Duration::from_secs(10);

/// The mesh.
pub(crate) struct Site {
    /// The orchestrator's address.
    pub(crate) mesh: Client,
    events: Client,
    /// Where tables can be looked at.
    pub(crate) database: Option<Database>,
    /// URL of the same.
    pub(crate) database_url: Option<String>,
    /// What the tasks ask for.
    pub(crate) capability: String,
    /// The cluster around it, if it is asked for.
    pub(crate) cluster: Option<Cluster>,
    /// Sidecars, metrics and traces.
    pub(crate) around: Around,
    story: OnceCell<Story>,
}

/// One task from its entry to its end.
pub(crate) struct Story {
    pub(crate) accepted_at: String,
    pub(crate) task: TaskView,
    /// In the log's order.
    pub(crate) events: Vec<StoredEvent>,
}

impl Story {
    /// Its events of one type.
    pub(crate) fn of_type<'a>(&'a self, event_type: &'a str) -> impl Iterator<Item = &'a StoredEvent> {
        self.events.iter().filter(move |event| event.event.event_type == event_type)
    }

    /// The types of its events, in order.
    pub(crate) fn types(&self) -> Vec<&str> {
        self.events.iter().map(|event| event.event.event_type.as_str()).collect()
    }
}

#[derive(Deserialize)]
struct Page {
    events: Vec<StoredEvent>,
}

impl Site {
    /// The mesh of the command line. Fails where nobody answers.
    pub(crate) async fn open(args: &CriteriaArgs) -> anyhow::Result<Self> {
        let mesh = Client::new(args.target.clone())?;
        let (cluster, around) = (Cluster::open(&args.cluster).await?, Around::new(&args.around)?);
        mesh.send(mesh.request(Method::GET, "/version")).await?;
        let events_url = args.events_url.clone().unwrap_or_else(|| args.target.url.clone());
        let events = Client::new(Target { url: events_url, ..args.target.clone() })?;
        let database_url = database::running(&args.database);
        let database = match &database_url {
            Some(url) => {
                let config = DbConfig { max_connections: 2, ..DbConfig::new(url, "mesh-six verify") };
                Some(Database::connect(config).await.map_err(crate::exit::Exit::database)?)
            }
            None => None,
        };
        let (capability, story) = (args.capability.clone(), OnceCell::new());
        Ok(Self { mesh, events, database, database_url, capability, cluster, around, story })
    }

    /// The body of a task of ours.
    pub(crate) fn task(&self) -> Value {
        json!({
            "capability": self.capability,
            "payload": { "query": format!("Say yes if you are there ({WORD}).") },
            "userId": MARK,
            "requestedBy": MARK,
            "timeout": 50,
        })
    }

    /// A task with its events, the same for all checks.
    pub(crate) async fn story(&self) -> anyhow::Result<&Story> {
        self.story.get_or_try_init(|| self.tell()).await
    }

    async fn tell(&self) -> anyhow::Result<Story> {
        let accepted_at = time::format(time::now());
        let done = tokio::time::timeout(TASK, submit_and_wait(&self.mesh, &self.task(), None)).await;
        let task = done.context("the task did not end within 60 s")??;
        let deadline = Instant::now() + SEEN;
        loop {
            let events = self.query(&[("taskId", task.task_id.to_string()), ("limit", "1000".to_owned())]).await?;
            let ended = events.iter().any(|e| matches!(e.event.event_type.as_str(), "task.completed" | "task.failed"));
            if ended {
                return Ok(Story { accepted_at, task, events });
            }
            ensure!(Instant::now() < deadline, "the log did not show the end of task {}", task.task_id);
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Events by the read API.
    pub(crate) async fn query(&self, conditions: &[(&str, String)]) -> anyhow::Result<Vec<StoredEvent>> {
        let request = self.events.request(Method::GET, "/api/v1/events").query(conditions);
        let page: Page = self.events.send(request).await?.json().await.map_err(|e| self.events.unreachable(&e))?;
        Ok(page.events)
    }

    /// The events of a task as the log replays them.
    pub(crate) async fn replay(&self, task: Uuid) -> anyhow::Result<Vec<StoredEvent>> {
        let path = client::path(&["api", "v1", "events", "replay", &format!("task:{task}")]);
        let response = self.events.send(self.events.request(Method::GET, &path)).await?;
        let text = response.text().await.map_err(|e| self.events.unreachable(&e))?;
        text.lines().filter(|line| !line.is_empty()).map(|line| Ok(serde_json::from_str(line)?)).collect()
    }

    /// Status and body of a request to the mesh, whatever they are.
    pub(crate) async fn ask(
        &self,
        method: Method,
        path: &str,
        body: Option<String>,
    ) -> anyhow::Result<(StatusCode, Value)> {
        let request = self.mesh.request(method, path).timeout(Duration::from_secs(30));
        let request = match body {
            Some(body) => request.header("content-type", "application/json").body(body),
            None => request,
        };
        let response = request.send().await.map_err(|e| self.mesh.unreachable(&e))?;
        let status = response.status();
        let text = response.text().await.map_err(|e| self.mesh.unreachable(&e))?;
        Ok((status, serde_json::from_str(&text).unwrap_or(Value::String(text))))
    }
}
