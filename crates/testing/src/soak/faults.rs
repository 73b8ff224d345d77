//! Carries a plan out, and starts again what ended by itself, as a cluster does.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use anyhow::{Context, Result};
use chrono::{DateTime, Utc};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::plan::{Fault, Kind, Plan};
use crate::{
    launch::Flow,
    rig::{POSTGRESQL, RABBITMQ, REDIS, Rig, Way},
};

/// How often it is looked for processes that ended by themselves.
const WATCH: Duration = Duration::from_millis(300);
/// A process that ends at once again, because what it needs is away, is started no more often than this.
const BACK_OFF: Duration = Duration::from_secs(1);
/// How long a part that has just been started again may take to be there for its next fault.
const THERE: Duration = Duration::from_secs(10);
/// How long a server may take to start.
const START: Duration = Duration::from_mins(2);

/// When something was away.
#[derive(Clone, Copy, Debug)]
pub(super) struct Outage {
    /// From when.
    pub(super) from: DateTime<Utc>,
    /// Until when.
    pub(super) until: DateTime<Utc>,
}

/// What was done so far.
#[derive(Clone, Debug, Default)]
pub(super) struct Done {
    /// How often what happened to whom.
    pub(super) counts: BTreeMap<(String, Kind), u32>,
    /// Starts of processes that had ended by themselves.
    pub(super) revived: BTreeMap<String, u32>,
    /// When the database was away, or the way of some service to it.
    pub(super) without_database: Vec<Outage>,
    /// Faults that could not be done, and why.
    pub(super) failed: Vec<String>,
}

impl Done {
    /// How often this part was killed.
    pub(super) fn kills(&self, part: &str) -> u32 {
        self.counts.get(&(part.to_owned(), Kind::Kill)).copied().unwrap_or(0)
    }
}

/// Whoever makes things fail in a rig.
pub(super) struct Saboteur<'a> {
    rig: &'a Rig,
    /// Parts that are to be away now.
    held: Mutex<BTreeSet<String>>,
    done: Mutex<Done>,
}

impl<'a> Saboteur<'a> {
    /// Of this rig.
    pub(super) fn new(rig: &'a Rig) -> Self {
        Self { rig, held: Mutex::default(), done: Mutex::default() }
    }

    /// What was done so far.
    pub(super) fn done(&self) -> Done {
        lock(&self.done).clone()
    }

    /// Does what the plan says when it says so. Each fault is over before the next begins.
    pub(super) async fn carry_out(&self, plan: &Plan, mut tell: impl FnMut(&Fault)) {
        let begin = Instant::now();
        for fault in &plan.faults {
            sleep_until(begin + fault.at).await;
            tell(fault);
            if let Err(error) = self.inflict(fault).await {
                lock(&self.done).failed.push(format!("{fault}: {error:#}"));
            }
        }
    }

    async fn inflict(&self, fault: &Fault) -> Result<()> {
        let from = Utc::now();
        let part = fault.target.as_str();
        match (fault.kind, fault.way) {
            (Kind::Kill | Kind::Stop, _) => {
                self.there(part).await?;
                lock(&self.held).insert(part.to_owned());
                let down = self.take_down(fault).await;
                lock(&self.held).remove(part);
                down?;
            }
            (Kind::Silence | Kind::Cut, Some(way)) => {
                let flow = if fault.kind == Kind::Cut { Flow::Closed } else { Flow::Silent };
                self.rig.set_way(part, way, flow)?;
                sleep(fault.lasts).await;
                self.rig.set_way(part, way, Flow::Through)?;
            }
            (Kind::Silence | Kind::Cut, None) => anyhow::bail!("no way is named"),
        }
        let mut done = lock(&self.done);
        *done.counts.entry((part.to_owned(), fault.kind)).or_default() += 1;
        if part == POSTGRESQL || fault.way == Some(Way::Database) {
            done.without_database.push(Outage { from, until: Utc::now() });
        }
        Ok(())
    }

    async fn take_down(&self, fault: &Fault) -> Result<()> {
        let part = fault.target.as_str();
        match fault.kind {
            Kind::Kill => self.rig.kill_nine(part).await?,
            _ => drop(self.rig.stop(part).await?),
        }
        sleep(fault.lasts).await;
        timeout(START, self.rig.start_again(part)).await.with_context(|| format!("{part} does not start again"))?
    }

    /// A part that waits for its next start cannot be killed.
    async fn there(&self, part: &str) -> Result<()> {
        let deadline = Instant::now() + THERE;
        while !self.rig.is_running(part).await? {
            anyhow::ensure!(Instant::now() < deadline, "it does not run");
            sleep(WATCH).await;
        }
        Ok(())
    }

    /// Starts processes again that have ended by themselves, until `stop`: a service whose database or a sidecar whose
    /// broker is away at its start ends, and relies on being started again.
    pub(super) async fn keep_alive(&self, stop: &CancellationToken) {
        let mut started: BTreeMap<String, Instant> = BTreeMap::new();
        let parts: Vec<String> = self
            .rig
            .parts()
            .into_iter()
            .filter(|part| ![POSTGRESQL, RABBITMQ, REDIS].contains(&part.as_str()))
            .collect();
        while !stop.is_cancelled() {
            for part in &parts {
                let recently = started.get(part).is_some_and(|at| at.elapsed() < BACK_OFF);
                if recently
                    || self.is_held(part)
                    || self.rig.is_running(part).await.unwrap_or(true)
                    || self.is_held(part)
                {
                    continue;
                }
                started.insert(part.clone(), Instant::now());
                if let Err(error) = self.rig.start_again(part).await {
                    lock(&self.done).failed.push(format!("{part} does not start again: {error:#}"));
                }
                *lock(&self.done).revived.entry(part.clone()).or_default() += 1;
            }
            let _ = timeout(WATCH, stop.cancelled()).await;
        }
    }

    fn is_held(&self, part: &str) -> bool {
        lock(&self.held).contains(part)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
