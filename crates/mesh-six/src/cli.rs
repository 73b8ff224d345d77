//! The command line.

mod bench;
mod database;
mod events;
mod letters;
mod log;
mod seals;
mod tasks;
mod trace;
mod values;
mod verify;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use values::whole;

pub(crate) use bench::BenchArgs;
pub(crate) use database::{DatabaseArgs, MigrateArgs, PartitionsArgs};
pub(crate) use events::{Conditions, EventsArgs, EventsCommand, QueryArgs, ReplayArgs, TailArgs};
pub(crate) use letters::{
    ChosenLetters, DeadLettersArgs, DeadLettersCommand, DiscardLettersArgs, LetterConditions, ListLettersArgs,
    ReplayLettersArgs, ShowLetterArgs,
};
pub(crate) use log::{EraseArgs, ExportArgs, ImportArgs, StatsArgs, SubjectArgs};
pub(crate) use seals::{SealArgs, VerifyArgs};
pub(crate) use tasks::{AgentsArgs, SubmitArgs, TasksArgs};
pub(crate) use trace::TraceArgs;
pub(crate) use verify::{AroundArgs, ClusterArgs, CriteriaArgs};

/// A mesh of services that routes tasks to the best LLM agent and keeps every step on the record.
#[derive(Parser)]
#[command(name = "mesh-six", version, about, propagate_version = true, arg_required_else_help = true)]
#[command(after_help = "Examples:
  mesh-six up                                the whole mesh on this machine
  mesh-six submit \"Why is the sky blue?\"     one task; waits and prints the answer
  mesh-six events tail                       what happens, live
  mesh-six events replay task:<id>           one task's story and what it adds up to

Exit codes: 0 done, 1 the task failed, 2 usage, 3 cannot reach the mesh.")]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Run the whole mesh in one process on one port of 127.0.0.1
    Up(UpArgs),
    /// Run one service beside a Dapr sidecar
    Serve(ServeArgs),
    /// Submit a task and wait for its answer, or a file of tasks
    Submit(SubmitArgs),
    /// List tasks, show one, or cancel one
    Tasks(TasksArgs),
    /// List the agents and how they score
    Agents(AgentsArgs),
    /// Read, prove, move and count the event log
    Events(EventsArgs),
    /// Draw what a task did as a waterfall, from the log alone
    Trace(TraceArgs),
    /// What failed for good: list, show, replay or discard it
    DeadLetters(DeadLettersArgs),
    /// Bring the database to the newest schema, or show what is missing
    Migrate(MigrateArgs),
    /// List the event log's partitions, or make those that are missing
    Partitions(PartitionsArgs),
    /// Check the acceptance criteria against a running mesh
    Verify(CriteriaArgs),
    /// Measure the event log and the mesh, each beside a reference
    Bench(BenchArgs),
    /// List the sixteen services
    #[command(after_help = "Examples:\n  mesh-six services\n  mesh-six services --json")]
    Services(Output),
    /// Print a completion script for a shell
    #[command(after_help = "Example:\n  mesh-six completions bash > /etc/bash_completion.d/mesh-six")]
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

/// How to print.
#[derive(Args, Clone, Copy)]
pub(crate) struct Output {
    /// Print JSON instead of text
    #[arg(long)]
    pub(crate) json: bool,
}

/// Where the mesh is.
#[derive(Args, Clone)]
pub(crate) struct Target {
    /// The mesh's address
    #[arg(
        long,
        env = "MESH_SIX_URL",
        hide_env_values = true,
        default_value = "http://127.0.0.1:7600",
        value_name = "URL"
    )]
    pub(crate) url: String,
    /// The mesh's API token, if it asks for one
    #[arg(long = "api-token", env = "API_TOKEN", hide_env_values = true, value_name = "TOKEN")]
    pub(crate) token: Option<String>,
}

#[derive(Args)]
#[command(after_help = "The database is DATABASE_URL if set, else a private PostgreSQL in the data folder.

Examples:
  mesh-six up
  mesh-six up --llm-url http://127.0.0.1:11434/v1 --model llama3.2
  DATABASE_URL=postgres://me@localhost/mesh mesh-six up --port 7700")]
pub(crate) struct UpArgs {
    /// Port on 127.0.0.1; 0 takes a free one
    #[arg(long, default_value_t = 7600, value_parser = whole::<0, 65_535, u16>)]
    pub(crate) port: u16,
    /// Where the private PostgreSQL keeps its data [default: ~/.local/share/mesh-six]
    #[arg(long, env = "MESH_SIX_DATA_DIR", hide_env_values = true, value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,
    /// An OpenAI-compatible endpoint; without one the offline model answers
    #[arg(long, env = "LITELLM_BASE_URL", hide_env_values = true, value_name = "URL")]
    pub(crate) llm_url: Option<String>,
    /// The model to ask for
    #[arg(long, env = "LLM_MODEL", hide_env_values = true, value_name = "NAME")]
    pub(crate) model: Option<String>,
    /// Leave a service out (may be given several times)
    #[arg(long, value_name = "SERVICE")]
    pub(crate) without: Vec<String>,
    /// Log what the services say, not only warnings
    #[arg(long, short)]
    pub(crate) verbose: bool,
    #[command(flatten)]
    pub(crate) output: Output,
}

#[derive(Args)]
#[command(after_help = "Settings come from the environment; see the table in README.md.

Examples:
  DATABASE_URL=postgres://me@localhost/mesh mesh-six serve orchestrator
  LLM_OFFLINE=true APP_PORT=3001 DAPR_HTTP_PORT=3501 mesh-six serve simple-agent")]
pub(crate) struct ServeArgs {
    /// The service, as `mesh-six services` lists it
    pub(crate) service: String,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }
}
