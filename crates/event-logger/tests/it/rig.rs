//! An event logger at work.

use axum::Router;
use mesh_six_core::{StoredEvent, event::EventFilter, task::TaskResult};
use mesh_six_db::{
    Database,
    dead_letters::{self, LetterFilter},
    events::EventLog,
};
use mesh_six_event_logger::{Deps, EventLogger, EventLoggerConfig, start};
use mesh_six_runtime::{Auth, shell};
use mesh_six_testing::TestDatabase;
use serde_json::Value;
use tokio_postgres::Client;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::ask;

/// What the sidecar shows.
pub(crate) const TOKEN: &str = "the-sidecar";

/// A service in its shell.
pub(crate) struct Service {
    pub(crate) router: Router,
    pub(crate) shutdown: CancellationToken,
    logger: EventLogger,
}

impl Service {
    pub(crate) fn start(db: &Database, log: &EventLog, token: &str) -> Self {
        Self::with_config(db, log, token, EventLoggerConfig::default())
    }

    pub(crate) fn with_config(db: &Database, log: &EventLog, token: &str, config: EventLoggerConfig) -> Self {
        let shutdown = CancellationToken::new();
        let deps = Deps { db: db.clone(), log: log.clone(), app_token: Some(token.to_owned()), config };
        let logger = start(deps, &shutdown);
        let router = shell(logger.info.clone(), logger.routes.clone(), logger.health.clone(), Auth::internal());
        Self { router, shutdown, logger }
    }

    pub(crate) async fn stop(self) {
        self.shutdown.cancel();
        assert_eq!(self.logger.background.stop(std::time::Duration::from_secs(10)).await, 0, "all tasks end");
    }
}

/// A service with a database of its own.
pub(crate) struct Rig {
    pub(crate) service: Service,
    pub(crate) log: EventLog,
    pub(crate) db: Database,
    // Dropped last, with the database.
    pub(crate) database: TestDatabase,
}

impl Rig {
    pub(crate) async fn start() -> Self {
        let database = TestDatabase::new().await;
        let db = database.database().await;
        let log = EventLog::start(db.clone());
        Self { service: Service::start(&db, &log, TOKEN), log, db, database }
    }

    pub(crate) fn router(&self) -> &Router {
        &self.service.router
    }

    /// Delivers a batch; one status each.
    pub(crate) async fn deliver(&self, route: &str, events: &[Value]) -> Vec<String> {
        ask::statuses(&ask::post(self.router(), route, TOKEN, ask::bulk(events)).await)
    }

    /// All events, in order.
    pub(crate) async fn events(&self) -> Vec<StoredEvent> {
        let all = EventFilter { limit: Some(1_000), ..EventFilter::default() };
        self.log.query(&all).await.unwrap()
    }

    /// The dead letters, by the ids of their events.
    pub(crate) async fn letters(&self) -> Vec<Kept> {
        let mut conn = self.db.conn().await.unwrap();
        let all = LetterFilter { limit: 10_000, ..LetterFilter::default() };
        let mut letters = Vec::new();
        for letter in dead_letters::list(&mut conn, &all).await.unwrap() {
            let envelope = dead_letters::get(&mut conn, &letter.id).await.unwrap().envelope;
            letters.push(Kept {
                app_id: letter.app_id,
                topic: letter.topic,
                source: letter.source,
                id: letter.event_id,
                envelope,
                reason: letter.reason,
                tries: letter.tries,
                state: letter.state.as_str().to_owned(),
            });
        }
        letters.sort_by(|a, b| a.id.cmp(&b.id));
        letters
    }
}

/// What is kept of a dead letter.
#[derive(Clone, Debug)]
pub(crate) struct Kept {
    pub(crate) app_id: String,
    pub(crate) topic: String,
    pub(crate) source: String,
    pub(crate) id: String,
    pub(crate) envelope: Vec<u8>,
    pub(crate) reason: String,
    pub(crate) tries: i32,
    pub(crate) state: String,
}

/// What the agent's inbox holds of these results; an answer only where `answered`.
pub(crate) async fn fill_inbox(client: &Client, results: &[TaskResult], answered: bool) {
    let tasks: Vec<Uuid> = results.iter().map(|r| r.task_id).collect();
    let agents: Vec<&str> = results.iter().map(|r| r.agent_id.as_str()).collect();
    let hashes: Vec<Option<&str>> = results.iter().map(|r| answered.then_some(r.result_hash.as_str())).collect();
    let sql = "INSERT INTO agent_inbox (task_id, attempt, agent_id, request, deadline_at, result_hash) \
               SELECT t::uuid, 1, a, '{}', now() + interval '1 hour', h FROM unnest($1::text[], $2::text[], $3::text[]) AS x(t, a, h)";
    let tasks: Vec<String> = tasks.iter().map(Uuid::to_string).collect();
    client.execute(sql, &[&tasks, &agents, &hashes]).await.unwrap();
}

/// The orchestrator's record that `agent` was asked.
pub(crate) async fn ask_agent(client: &Client, task: Uuid, agent: &str) {
    let insert = format!(
        "INSERT INTO orchestrator_tasks (task_id, capability, requested_by, trace_id) VALUES ('{task}', 'c', 'x', '{task}');
         INSERT INTO task_attempts (task_id, attempt, agent_id, deadline_at) VALUES ('{task}', 1, '{agent}', now())"
    );
    client.batch_execute(&insert).await.unwrap();
}
