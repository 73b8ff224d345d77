//! A backlog, drained by the event logger and, through the same sidecar, by an app that only answers SUCCESS.

use std::{
    fs,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use axum::{
    Json, Router,
    body::Bytes,
    http::StatusCode,
    routing::{get, post},
};
use mesh_six_core::names::{EVENT_LOGGER, TASK_PROGRESS};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::{
    net::TcpListener,
    time::{Instant, sleep},
};
use tokio_postgres::Client;
use tokio_util::sync::CancellationToken;

use super::{messages, report::Row};
use crate::{
    launch::{AmqpPublisher, client, queue_length},
    rig::Rig,
};

/// What the event logger must reach of the other's rate.
const SHARE: f64 = 0.5;
/// The most memory of its process, in MiB.
const MEMORY: f64 = 40.0;
/// Messages that are published together.
const BATCH: usize = 1_000;
/// How long the broker may take to confirm them.
const CONFIRM: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(200);
/// A drain that takes longer is no drain.
const PATIENCE: Duration = Duration::from_mins(5);

/// Measures both, the app that only answers first. Nothing else may run meanwhile.
pub(super) async fn measure(rig: &Rig, database: &Client, count: usize) -> Result<Row> {
    let sidecar = format!("{EVENT_LOGGER}.daprd");
    let subscriptions = subscriptions(rig).await?;
    rig.stop(EVENT_LOGGER).await?;
    rig.stop(&sidecar).await?;
    fill(rig, "soak-backlog-1", count).await?;
    let reference = answering(rig, subscriptions, &sidecar, count).await?;
    fill(rig, "soak-backlog-2", count).await?;
    rig.start_again(EVENT_LOGGER).await?;
    rig.start_again(&sidecar).await?;
    let ours = logging(rig, database, count).await?;
    let memory = peak_memory(rig.pid(EVENT_LOGGER).await?.context("the event logger does not run")?)?;
    let share = ours / reference;
    let mut violations = Vec::new();
    if share < SHARE {
        violations.push(format!("{share:.2} of the rate of an app that only answers"));
    }
    if memory >= MEMORY {
        violations.push(format!("{memory:.1} MiB of memory"));
    }
    Ok(Row::new(
        format!("a backlog of {count} drained by one event-logger"),
        "-",
        format!(
            "at least {SHARE} of what the same sidecar delivers to an app that only answers; memory under {MEMORY} MiB"
        ),
        format!("{ours:.0}/s of {reference:.0}/s: {share:.2}; at most {memory:.1} MiB"),
        violations,
    ))
}

/// What the event logger tells its sidecar.
async fn subscriptions(rig: &Rig) -> Result<Value> {
    let request = client().get(format!("{}/dapr/subscribe", rig.url(EVENT_LOGGER)));
    Ok(request.header("dapr-api-token", rig.app_token()).send().await?.error_for_status()?.json().await?)
}

async fn fill(rig: &Rig, source: &str, count: usize) -> Result<()> {
    let mut publisher = AmqpPublisher::new(rig.broker_url());
    let mut left = count;
    while left > 0 {
        let batch: Vec<Vec<u8>> = (0..left.min(BATCH)).map(|number| messages::note(source, number).1).collect();
        let confirmed = publisher.publish(TASK_PROGRESS, &batch, CONFIRM).await;
        ensure!(confirmed.iter().all(|one| *one), "the broker did not take the backlog");
        left -= batch.len();
    }
    Ok(())
}

#[derive(Default)]
struct Seen {
    first: Option<Instant>,
    last: Option<Instant>,
    count: usize,
}

/// The rate at which the sidecar delivers to an app that only answers.
async fn answering(rig: &Rig, subscriptions: Value, sidecar: &str, count: usize) -> Result<f64> {
    let seen = Arc::new(Mutex::new(Seen::default()));
    let noted = seen.clone();
    let answer = async move |body: Bytes| answer(&body, &noted).ok_or(StatusCode::BAD_REQUEST);
    let mut routes = Router::new().route("/dapr/subscribe", get(async move || Json(subscriptions)));
    routes = routes.route("/events/{topic}", post(answer));
    let address: SocketAddr = rig.url(EVENT_LOGGER).trim_start_matches("http://").parse()?;
    let listener = TcpListener::bind(address).await.context("the event logger's port is taken")?;
    let end = CancellationToken::new();
    let serving = axum::serve(listener, routes.layer(axum::extract::DefaultBodyLimit::max(32 << 20)));
    let app = tokio::spawn(serving.with_graceful_shutdown(end.clone().cancelled_owned()).into_future());
    rig.start_again(sidecar).await?;
    let begin = Instant::now();
    let look = || seen.lock().unwrap_or_else(PoisonError::into_inner).count;
    while look() < count {
        ensure!(begin.elapsed() < PATIENCE, "{} of {count} were delivered within {PATIENCE:?}", look());
        sleep(POLL).await;
    }
    rig.stop(sidecar).await?;
    end.cancel();
    app.await??;
    let seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
    let span = seen.first.zip(seen.last).map(|(first, last)| last - first).unwrap_or_default();
    rate(seen.count, span)
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    entry_id: String,
}

#[derive(Deserialize)]
struct Bulk {
    entries: Vec<Entry>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Status {
    entry_id: String,
    status: &'static str,
}

#[derive(Serialize)]
struct Statuses {
    statuses: Vec<Status>,
}

fn answer(body: &[u8], seen: &Mutex<Seen>) -> Option<Json<Statuses>> {
    let now = Instant::now();
    let bulk: Bulk = serde_json::from_slice(body).ok()?;
    let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
    seen.first.get_or_insert(now);
    seen.last = Some(now);
    seen.count += bulk.entries.len();
    let statuses = bulk.entries.into_iter().map(|entry| Status { entry_id: entry.entry_id, status: "SUCCESS" });
    Some(Json(Statuses { statuses: statuses.collect() }))
}

/// The rate at which the event logger writes the backlog, by the times of its first and its last transaction.
async fn logging(rig: &Rig, database: &Client, count: usize) -> Result<f64> {
    let begin = Instant::now();
    let queue = format!("{EVENT_LOGGER}-{TASK_PROGRESS}");
    let sql = "SELECT count(*), extract(epoch FROM max(timestamp) - min(timestamp))::float8 FROM mesh_six_events \
        WHERE agent_id = 'soak-backlog-2' AND event_type = 'task.progress'";
    loop {
        // Counting rows would take part of what is measured.
        if queue_length(rig.broker_url(), &queue).await? == 0 {
            let row = database.query_one(sql, &[]).await?;
            if usize::try_from(row.get::<_, i64>(0))? >= count {
                return rate(count, Duration::from_secs_f64(row.get(1)));
            }
        }
        ensure!(begin.elapsed() < PATIENCE, "the backlog was not drained within {PATIENCE:?}");
        sleep(POLL).await;
    }
}

fn rate(count: usize, span: Duration) -> Result<f64> {
    ensure!(!span.is_zero(), "everything came at once: the backlog is too small to tell a rate");
    Ok(f64::from(u32::try_from(count)?) / span.as_secs_f64())
}

/// The most memory that a process had so far, in MiB.
fn peak_memory(pid: u32) -> Result<f64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("no VmHWM in its status")?;
    let kib: u32 = peak.trim().trim_end_matches(" kB").parse()?;
    Ok(f64::from(kib) / 1024.0)
}
