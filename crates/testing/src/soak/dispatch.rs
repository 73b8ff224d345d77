//! From `POST /tasks` to the agent's handler, through the broker, with nothing else going on.

use std::{
    collections::HashMap,
    sync::{Arc, atomic::AtomicUsize},
    time::Duration,
};

use anyhow::{Result, ensure};
use tokio::time::Instant;

use super::{
    report::Row,
    tasks::{self, TaskLoad},
};
use crate::{Reply, StubModel};

/// Tasks a second.
const RATE: usize = 20;
/// Tasks before the measurement, for connections and statements to be there.
const WARM_UP: usize = 40;
/// What must be reached, in milliseconds.
const P50: f64 = 15.0;
const P99: f64 = 60.0;
const PATIENCE: Duration = Duration::from_mins(1);

/// Measures `count` tasks. The handler's begin is told by the request that it makes of the model first of all, which
/// counts as part of it.
pub(super) async fn measure(model: &StubModel, orchestrators: Vec<String>, count: usize) -> Result<Row> {
    model.always(Reply::text("At once."));
    let times = [("warm-up", WARM_UP), ("dispatch", count)];
    let mut took = Vec::new();
    for (name, count) in times {
        took = send(model, &orchestrators, name, count).await?;
    }
    took.sort_by(f64::total_cmp);
    let (p50, p99) = (percentile(&took, 50), percentile(&took, 99));
    let mut violations = Vec::new();
    for (name, value, most) in [("p50", p50, P50), ("p99", p99, P99)] {
        if value > most {
            violations.push(format!("{name} is {value:.1} ms"));
        }
    }
    Ok(Row::new(
        format!("dispatch: POST /tasks to agent handler entered, through the broker, {count} tasks at {RATE} a second"),
        "-",
        format!("p50 <= {P50} ms, p99 <= {P99} ms"),
        format!("p50 {p50:.1} ms, p99 {p99:.1} ms, most {:.1} ms", took.last().copied().unwrap_or_default()),
        violations,
    ))
}

/// Milliseconds that each took.
async fn send(model: &StubModel, orchestrators: &[String], name: &str, count: usize) -> Result<Vec<f64>> {
    let (begin, length) = (Instant::now(), Duration::from_secs(1) * u32::try_from(count)? / u32::try_from(RATE)?);
    let load = TaskLoad { name: name.to_owned(), count, begin, length, end: begin + length + PATIENCE };
    let submitted = load.clone().submit(super::http(), orchestrators.to_vec(), Arc::new(AtomicUsize::new(0))).await?;
    loop {
        let mut entered = HashMap::new();
        for run in tasks::runs(model) {
            if let Some(number) = load.number(&run.query) {
                entered.entry(number).or_insert(run.at);
            }
        }
        if entered.len() == count {
            let took = submitted.iter().map(|task| (entered[&task.number] - task.sent).as_seconds_f64() * 1_000.0);
            return Ok(took.collect());
        }
        ensure!(Instant::now() < load.end, "{} of {count} tasks reached the model", entered.len());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn percentile(sorted: &[f64], percent: usize) -> f64 {
    sorted.get((sorted.len() * percent / 100).min(sorted.len().saturating_sub(1))).copied().unwrap_or_default()
}
