//! The mesh beside real Dapr, RabbitMQ, Redis and PostgreSQL, by hand. `cargo xtask rig` sets up what it needs.

use std::{
    ffi::{OsStr, OsString},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};
use mesh_six_testing::{
    generated,
    rig::{
        Namespace,
        hand::{self, HomeArgs, UpArgs},
    },
};

#[derive(Parser)]
#[command(name = "rig", about = "The mesh beside real Dapr, RabbitMQ, Redis and PostgreSQL on this machine")]
struct Cli {
    #[command(subcommand)]
    command: Rig,
}

#[derive(Subcommand)]
enum Rig {
    /// Starts everything, and returns when it is ready
    Up(UpArgs),
    /// Says what runs where; exit code 1 if something of it does not
    Status {
        #[command(flatten)]
        home: HomeArgs,
        /// One JSON object
        #[arg(long)]
        json: bool,
    },
    /// Prints the logs of all parts, or of those that are named
    Logs {
        #[command(flatten)]
        home: HomeArgs,
        /// Such as simple-agent, simple-agent.daprd, rabbitmq
        parts: Vec<String>,
        /// Goes on with what comes
        #[arg(long, short)]
        follow: bool,
    },
    /// Ends everything, also what an earlier rig has left over
    Down {
        #[command(flatten)]
        home: HomeArgs,
    },
    /// Prints addresses and secrets for a shell's eval
    Env {
        #[command(flatten)]
        home: HomeArgs,
    },
    /// Writes what is made from services.toml
    Generate {
        /// The top of the repository
        root: PathBuf,
    },
    /// Runs a command in a network namespace as a rig has one
    Isolated {
        #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
        command: Vec<OsString>,
    },
    #[command(hide = true)]
    Supervise(UpArgs),
    #[command(hide = true)]
    Inside(UpArgs),
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Cli::parse().command).await {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(command: Rig) -> Result<ExitCode> {
    match command {
        Rig::Up(args) => hand::up(args).await?,
        Rig::Status { home, json } => return hand::status(home, json),
        Rig::Logs { home, parts, follow } => hand::logs(home, parts, follow).await?,
        Rig::Down { home } => hand::down(home).await?,
        Rig::Env { home } => hand::env(home)?,
        Rig::Generate { root } => generate(&root)?,
        Rig::Isolated { command } => isolated(&command)?,
        Rig::Supervise(args) => hand::supervise(args).await?,
        Rig::Inside(args) => hand::inside(args).await?,
    }
    Ok(ExitCode::SUCCESS)
}

fn generate(root: &Path) -> Result<()> {
    let written = generated::write(root)?;
    for file in &written {
        println!("{}", file.display());
    }
    if written.is_empty() {
        println!("everything that is made from services.toml is up to date");
    }
    Ok(())
}

/// Becomes the command.
fn isolated(command: &[OsString]) -> Result<()> {
    let namespace = Namespace::find();
    if namespace == Namespace::Refused {
        eprintln!("NOT ISOLATED: this machine lets us make no network namespace; using its own loopback device");
    }
    let (program, args) = command.split_first().context("no command was given")?;
    let mut isolated = namespace.command(program, args.iter().map(|arg| -> &OsStr { arg }));
    Err(isolated.exec()).with_context(|| format!("cannot run {}", program.display()))
}
