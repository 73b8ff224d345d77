//! Load and faults, and what must hold after them: the whole mesh beside real servers, things killed, stopped and cut off
//! by a plan, messages and tasks meanwhile, then the questions whether anything was lost or done twice.
//!
//! `cargo xtask soak` runs the whole of it; a small one is among the tests of the rig.

mod checks;
mod dispatch;
mod faults;
mod messages;
mod plan;
mod progress;
mod report;
mod run;
mod settle;
mod tasks;
mod throughput;
mod verdict;

use std::{path::PathBuf, time::Duration};

use reqwest::Client;

pub use self::{
    plan::{Fault, Kind, Plan, Targets},
    progress::Progress,
    report::{Report, Row},
    run::run,
};

/// Faults come no closer than this.
pub const PACE: Duration = Duration::from_secs(8);
/// Minutes from which on the whole work is done, and each part is killed five times at least.
pub const WHOLE: f64 = 20.0;
/// Messages of a whole run; a shorter one has its share.
pub const MESSAGES: usize = 100_000;
/// Tasks of a whole run.
pub const TASKS: usize = 2_000;

/// What to do.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The binary `mesh-six`.
    pub program: PathBuf,
    /// Of the plan.
    pub seed: u64,
    /// The time with faults.
    pub length: Duration,
    /// Faults come no closer than this.
    pub pace: Duration,
    /// Messages straight to the event logger's topics.
    pub messages: usize,
    /// Tasks.
    pub tasks: usize,
    /// The most time that it may take after the last fault until everything is settled.
    pub drain: Duration,
    /// What is measured in the end, undisturbed; `None`: nothing.
    pub measured: Option<Measured>,
    /// Where the logs go if something does not hold.
    pub artefacts: Option<PathBuf>,
}

/// What is measured without faults.
#[derive(Clone, Copy, Debug)]
pub struct Measured {
    /// Messages of the backlog that is drained.
    pub backlog: usize,
    /// Tasks whose way to their handler is timed.
    pub dispatches: usize,
}

impl Settings {
    /// A run of so many minutes.
    pub fn of_minutes(program: impl Into<PathBuf>, seed: u64, minutes: f64) -> Self {
        let share = (minutes / WHOLE).min(1.0);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "small"
        )]
        let part = |of: usize| (of as f64 * share).ceil() as usize;
        Self {
            program: program.into(),
            seed,
            length: Duration::from_secs_f64(minutes * 60.0),
            pace: PACE,
            messages: part(MESSAGES),
            tasks: part(TASKS),
            drain: Duration::from_mins(5),
            measured: Some(Measured { backlog: 100_000, dispatches: 600 }),
            artefacts: None,
        }
    }
}

/// Connections are kept, as callers do.
fn http() -> Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let builder = Client::builder().no_proxy().tls_certs_only([]);
    builder.build().unwrap_or_else(|error| panic!("cannot make an HTTP client: {error}"))
}
