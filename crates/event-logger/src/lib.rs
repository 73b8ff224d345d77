//! The event logger: taps pub/sub into the event log, keeps the log's partitions and the dead letters, serves its read
//! API.
//!
//! It is the passive of the two paths (events.md §6): whatever services write themselves arrives here again
//! under the same key, and whatever could not be written there arrives here alone.
//! Errors end as answers to the sidecar or the caller, so there are no error types of its own.

mod api;
mod config;
mod ingest;
mod tap;
mod waiting;

use std::time::Duration;

use mesh_six_core::{metric::Metric, names::EVENT_LOGGER};
use mesh_six_db::{Database, DbError, dead_letters, events::EventLog, partitions, seals};
use mesh_six_runtime::{Background, HealthState, Routes, ServiceInfo};
use mesh_six_sidecar::subscription_router;
use tokio_util::sync::CancellationToken;
use waiting::WaitingLetters;

pub use api::openapi;
pub use config::{EventLoggerConfig, VARIABLES};

/// What the event logger works with.
pub struct Deps {
    /// The database.
    pub db: Database,
    /// The log in it.
    pub log: EventLog,
    /// What the sidecar must show in `dapr-api-token`.
    pub app_token: Option<String>,
    /// Its settings.
    pub config: EventLoggerConfig,
}

/// A running event logger.
pub struct EventLogger {
    /// Its routes: the read API, and what the sidecar calls.
    pub routes: Routes,
    /// For the shell.
    pub info: ServiceInfo,
    /// Ready while the database answers.
    pub health: HealthState,
    /// Upkeep and gauges; ends with the token given to [`start`].
    pub background: Background,
}

/// What the event logger counts itself.
pub const METRICS: [Metric; 3] = [waiting::LETTERS, waiting::OLDEST, api::DECIDED];

/// How often the database is asked for a sign of life and the gauges are set.
const WATCH: Duration = Duration::from_secs(2);
/// How long that may take.
const ANSWER: Duration = Duration::from_secs(3);

/// Starts the upkeep of partitions and dead letters and makes the routes. `shutdown` also ends the live tails.
pub fn start(deps: Deps, shutdown: &CancellationToken) -> EventLogger {
    mesh_six_runtime::metrics::describe(&METRICS);
    let Deps { db, log, app_token, config } = deps;
    let background = Background::new(shutdown);
    let health = HealthState::new();
    health.not_ready("database", "not asked yet");
    let (upkeep_db, stop) = (db.clone(), background.token());
    background.spawn_restarting("partitions", move || partitions::run_upkeep(upkeep_db.clone(), stop.clone()));
    let (letters_db, stop) = (db.clone(), background.token());
    background.spawn_restarting("letters", move || dead_letters::run_upkeep(letters_db.clone(), stop.clone()));
    let (sealed_db, stop) = (db.clone(), background.token());
    background.spawn_restarting("seals", move || {
        seals::run(sealed_db.clone(), config.seal_options(), config.seal_every, stop.clone())
    });
    let (watched, told, stop) = ((db.clone(), log.clone()), health.clone(), background.token());
    background.spawn_restarting("watch", move || {
        let (db, log) = watched.clone();
        watch(db, log, told.clone(), stop.clone())
    });
    let intake = ingest::Intake { db: db.clone(), log: log.clone(), app_id: EVENT_LOGGER.to_owned() };
    let routes = Routes::new()
        .public(api::routes(db, log, shutdown.clone()))
        .delivered(subscription_router(tap::subscriptions(&intake), app_token));
    EventLogger { routes, info: ServiceInfo::new(EVENT_LOGGER), health, background }
}

/// Ties readiness to the database and keeps the gauges of dead letters, of the default partition and of the
/// horizon.
async fn watch(db: Database, log: EventLog, health: HealthState, stop: CancellationToken) {
    let mut letters = WaitingLetters::default();
    loop {
        match tokio::time::timeout(ANSWER, look(&db, &log, &mut letters)).await {
            Ok(Ok(())) => health.ready("database"),
            Ok(Err(error)) => health.not_ready("database", error.to_string()),
            Err(_) => health.not_ready("database", format!("no answer within {} s", ANSWER.as_secs())),
        }
        if tokio::time::timeout(WATCH, stop.cancelled()).await.is_ok() {
            return;
        }
    }
}

async fn look(db: &Database, log: &EventLog, letters: &mut WaitingLetters) -> Result<(), DbError> {
    let mut conn = db.conn().await?;
    letters.look(&mut conn).await?;
    // The daily upkeep says so in the log; the gauge must not wait for it.
    partitions::default_rows(&mut conn).await?;
    drop(conn);
    log.horizon().await?;
    Ok(())
}
