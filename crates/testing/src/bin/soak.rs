//! Load and faults, and what must hold after them. `cargo xtask soak` builds what it needs and runs it.

use std::{path::PathBuf, process::ExitCode};

use anyhow::{Context, Result, bail, ensure};
use clap::Parser;
use mesh_six_testing::soak::{self, Progress, Settings};

#[derive(Parser)]
#[command(name = "soak", about = "Load and random faults, and what must hold after them")]
struct Cli {
    /// The binary mesh-six
    #[arg(long)]
    program: PathBuf,
    /// The time with faults; below 20, the work is less in proportion; 0: only what is measured without any
    #[arg(long, default_value_t = soak::WHOLE)]
    minutes: f64,
    /// Of the plan: the same seed gives the same plan; a new one if none is given
    #[arg(long)]
    seed: Option<u64>,
    /// The table as JSON
    #[arg(long)]
    json: bool,
    /// Where the logs of all processes go, in a folder named after the seed, if something does not hold
    #[arg(long)]
    artefacts: Option<PathBuf>,
}

/// Whether everything holds.
async fn run(cli: Cli) -> Result<bool> {
    let Cli { program, minutes, seed, json, artefacts } = cli;
    ensure!(
        minutes == 0.0 || (2.0..=1_440.0).contains(&minutes),
        "--minutes is {minutes}, but must be 0 or from 2 to 1440"
    );
    let seed = seed.unwrap_or_else(|| fastrand::u64(1..1_000_000));
    let artefacts = artefacts.map(|folder| folder.join(seed.to_string()));
    let settings = Settings { artefacts, ..Settings::of_minutes(program, seed, minutes) };
    let progress = Progress::new(false);
    progress.print(&format!("seed {seed}"));
    let report = tokio::select! {
        report = soak::run(&settings, &progress) => report?,
        // Everything that runs ends with the future that is dropped.
        stopped = tokio::signal::ctrl_c() => {
            stopped.context("Ctrl-C cannot be noticed")?;
            bail!("stopped");
        }
    };
    drop(progress);
    println!("{}", if json { serde_json::to_string_pretty(&report)? } else { report.to_string() });
    Ok(report.holds())
}

#[tokio::main]
async fn main() -> ExitCode {
    match Box::pin(run(Cli::parse())).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
