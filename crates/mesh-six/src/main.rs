//! One binary for all of mesh-six: the services, the mesh on one machine, and the tools that talk to it.
//!
//! This crate is the edge: it uses anyhow, and turns an error into one line and an exit code.

mod cli;
mod client;
mod commands;
mod exit;
mod output;
mod serve;
mod services;
mod up;
mod usage;

use std::process::ExitCode;

use clap::Parser;
use cli::{Cli, Command};

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return usage::report(&error),
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return exit::report(&error.into()),
    };
    let done = runtime.block_on(run(cli));
    runtime.shutdown_timeout(std::time::Duration::from_secs(2));
    done.unwrap_or_else(|error| exit::report(&error))
}

async fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    match cli.command {
        Command::Up(args) => up::run(args).await,
        Command::Serve(args) => serve::run(args).await,
        Command::Submit(args) => commands::submit::run(args).await,
        Command::Tasks(args) => commands::tasks::run(args).await,
        Command::Agents(args) => commands::agents::run(args).await,
        Command::Events(args) => commands::events::run(args).await,
        Command::Trace(args) => commands::trace::run(args).await,
        Command::DeadLetters(args) => commands::dead_letters::run(args).await,
        Command::Migrate(args) => commands::migrate::run(args).await,
        Command::Partitions(args) => commands::partitions::run(args).await,
        Command::Verify(args) => commands::verify::run(args).await,
        Command::Bench(args) => commands::bench::run(args).await,
        Command::Services(args) => commands::services::run(args),
        Command::Completions { shell } => commands::completions::run(shell),
    }
}
