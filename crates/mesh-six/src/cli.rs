//! The command line.

mod bench;
mod letters;
mod log;
mod trace;
mod values;
mod verify;

use std::path::PathBuf;

use chrono::{DateTime, Utc};
use clap::{Args, Parser, Subcommand};
use mesh_six_core::{TraceId, event::Position};
use mesh_six_db::seals::{Hash, Month};
use uuid::Uuid;

use values::{beginning, id, when, whole};

pub(crate) use bench::BenchArgs;
pub(crate) use letters::{
    ChosenLetters, DeadLettersArgs, DeadLettersCommand, DiscardLettersArgs, LetterConditions, ListLettersArgs,
    ReplayLettersArgs, ShowLetterArgs,
};
pub(crate) use log::{EraseArgs, ExportArgs, ImportArgs, StatsArgs, SubjectArgs};
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

#[derive(Args)]
#[command(override_usage = "mesh-six submit [OPTIONS] <QUERY>
       mesh-six submit [OPTIONS] --payload <JSON>
       mesh-six submit [OPTIONS] --file <FILE>")]
#[command(after_help = "Examples:
  mesh-six submit \"Why is the sky blue?\"
  mesh-six submit --capability general-query --payload '{\"query\": \"...\"}' --json
  mesh-six submit --file examples/tasks.jsonl")]
pub(crate) struct SubmitArgs {
    /// The question; the same as --payload '{"query": ...}'
    #[arg(required_unless_present_any = ["file", "payload"], conflicts_with_all = ["file", "payload"])]
    pub(crate) query: Option<String>,
    /// A file of tasks, one JSON object a line; - is standard input
    #[arg(long, value_name = "FILE", conflicts_with = "payload")]
    pub(crate) file: Option<PathBuf>,
    /// The task's input, a JSON object
    #[arg(long, value_name = "JSON")]
    pub(crate) payload: Option<String>,
    /// What is asked for
    #[arg(long, default_value = "general-query")]
    pub(crate) capability: String,
    /// 0 (can wait) to 10 (urgent)
    #[arg(long, default_value_t = 5, allow_negative_numbers = true, value_parser = whole::<0, 10, i32>)]
    pub(crate) priority: i32,
    /// Seconds that one attempt may take, 1 to 900
    #[arg(long, default_value_t = 120, allow_negative_numbers = true, value_parser = whole::<1, 900, i32>)]
    pub(crate) timeout: i32,
    /// For whom
    #[arg(long)]
    pub(crate) user: Option<String>,
    /// The same key gives the same task
    #[arg(long, value_name = "KEY")]
    pub(crate) idempotency_key: Option<String>,
    /// Print the task's id and do not wait
    #[arg(long, conflicts_with = "file")]
    pub(crate) no_wait: bool,
    /// Tasks of a file that are under way at once
    #[arg(long, default_value_t = 8, value_parser = whole::<1, 256, u16>)]
    pub(crate) concurrency: u16,
    #[command(flatten)]
    pub(crate) output: Output,
    #[command(flatten)]
    pub(crate) target: Target,
}

#[derive(Args)]
#[command(after_help = "Examples:
  mesh-six tasks --status failed
  mesh-six tasks <id>
  mesh-six tasks <id> --cancel")]
pub(crate) struct TasksArgs {
    /// Show this task
    #[arg(value_parser = id)]
    pub(crate) id: Option<Uuid>,
    /// Cancel it
    #[arg(long, requires = "id")]
    pub(crate) cancel: bool,
    /// Only tasks in this state: pending, dispatched, completed, failed or cancelled
    #[arg(long, conflicts_with = "id")]
    pub(crate) status: Option<String>,
    /// Only tasks that ask for this
    #[arg(long, conflicts_with = "id")]
    pub(crate) capability: Option<String>,
    /// How many, 1 to 200
    #[arg(long, default_value_t = 20, value_parser = whole::<1, 200, u16>)]
    pub(crate) limit: u16,
    #[command(flatten)]
    pub(crate) output: Output,
    #[command(flatten)]
    pub(crate) target: Target,
}

#[derive(Args)]
#[command(after_help = "Examples:
  mesh-six agents
  mesh-six agents --score general-query
  mesh-six agents --json")]
pub(crate) struct AgentsArgs {
    /// Show the score table of a capability
    #[arg(long, value_name = "CAPABILITY")]
    pub(crate) score: Option<String>,
    #[command(flatten)]
    pub(crate) output: Output,
    #[command(flatten)]
    pub(crate) target: Target,
}

#[derive(Args)]
#[command(after_help = "Examples:
  mesh-six events tail
  mesh-six events query --task <id>
  mesh-six events query --type llm.response --since 1h --desc --json
  mesh-six events replay task:<id>
  mesh-six events verify --expect <hash>")]
pub(crate) struct EventsArgs {
    #[command(subcommand)]
    pub(crate) command: EventsCommand,
}

#[derive(Subcommand)]
pub(crate) enum EventsCommand {
    /// Follow the log live, one line an event
    Tail(TailArgs),
    /// Find events
    Query(QueryArgs),
    /// The events of one aggregate in order, then the state they add up to
    Replay(ReplayArgs),
    /// Prove that no sealed event was changed, removed, inserted or moved
    Verify(VerifyArgs),
    /// Seal what can be sealed now, as the event logger does every minute
    Seal(SealArgs),
    /// Count events, errors, tokens, cost and latency by type, agent and model
    Stats(StatsArgs),
    /// Write events as JSON lines
    Export(ExportArgs),
    /// Restore an empty log from an export
    Import(ImportArgs),
    /// Remove the content of an event, a task or a user; the log stays whole
    Erase(EraseArgs),
}

/// What must hold of an event.
#[derive(Args, Clone)]
pub(crate) struct Conditions {
    /// Of this task
    #[arg(long, value_name = "ID", value_parser = id)]
    pub(crate) task: Option<Uuid>,
    /// Of this trace
    #[arg(long, value_name = "ID")]
    pub(crate) trace: Option<TraceId>,
    /// Reported by this agent
    #[arg(long)]
    pub(crate) agent: Option<String>,
    /// Of this type, such as llm.response
    #[arg(long = "type", value_name = "TYPE")]
    pub(crate) event_type: Option<String>,
}

#[derive(Args)]
#[command(after_help = "Survives a restart of the mesh; ends with Ctrl-C.

Examples:
  mesh-six events tail
  mesh-six events tail --type llm.response --json
  mesh-six events tail --after start")]
pub(crate) struct TailArgs {
    #[command(flatten)]
    pub(crate) conditions: Conditions,
    /// Begin after this position instead of now; `start` is the whole log
    #[arg(long, value_name = "POSITION", value_parser = beginning)]
    pub(crate) after: Option<String>,
    #[command(flatten)]
    pub(crate) output: Output,
    #[command(flatten)]
    pub(crate) target: Target,
}

#[derive(Args)]
#[command(after_help = "Examples:
  mesh-six events query --task <id>
  mesh-six events query --type llm.response --since 1h --desc
  mesh-six events query --agent simple-agent --limit 1000 --json")]
pub(crate) struct QueryArgs {
    #[command(flatten)]
    pub(crate) conditions: Conditions,
    /// Of this aggregate, such as task:<id>
    #[arg(long, value_name = "ID")]
    pub(crate) aggregate: Option<String>,
    /// Recorded since: a time, or how long ago, such as 30s, 15m, 1h, 7d
    #[arg(long, value_name = "WHEN", value_parser = when)]
    pub(crate) since: Option<DateTime<Utc>>,
    /// Recorded until: a time, or how long ago
    #[arg(long, value_name = "WHEN", value_parser = when)]
    pub(crate) until: Option<DateTime<Utc>>,
    /// After this position
    #[arg(long, value_name = "POSITION")]
    pub(crate) after: Option<Position>,
    /// Before this position
    #[arg(long, value_name = "POSITION")]
    pub(crate) before: Option<Position>,
    /// How many, 1 to 1000
    #[arg(long, default_value_t = 100, value_parser = whole::<1, 1000, i64>)]
    pub(crate) limit: i64,
    /// Newest first
    #[arg(long)]
    pub(crate) desc: bool,
    #[command(flatten)]
    pub(crate) output: Output,
    #[command(flatten)]
    pub(crate) target: Target,
}

#[derive(Args)]
#[command(after_help = "Examples:
  mesh-six events replay task:<id>
  mesh-six events replay agent:simple-agent --json")]
pub(crate) struct ReplayArgs {
    /// The aggregate, such as task:<id>
    pub(crate) aggregate: String,
    #[command(flatten)]
    pub(crate) output: Output,
    #[command(flatten)]
    pub(crate) target: Target,
}

#[derive(Args)]
#[command(
    after_help = "Recomputes the chain of seals from the events and names the first that differs; then the exit code is 1.
Whoever may rewrite events and seals together is found out by a hash that was noted somewhere else: every new one
is in the event logger's log, and `mesh-six events seal` prints the newest.

Examples:
  mesh-six events verify
  mesh-six events verify --expect <hash> --json"
)]
pub(crate) struct VerifyArgs {
    /// A hash that some seal must have; everything up to it is vouched for then
    #[arg(long, value_name = "HASH")]
    pub(crate) expect: Option<Hash>,
    /// Begin with the seal of this number and believe those before it
    #[arg(long, value_name = "NUMBER", value_parser = whole::<1, { i64::MAX }, i64>)]
    pub(crate) from: Option<i64>,
    #[command(flatten)]
    pub(crate) database: DatabaseArgs,
    #[command(flatten)]
    pub(crate) output: Output,
}

#[derive(Args)]
#[command(
    after_help = "Prints the newest seal: note its hash somewhere else, and give it to `mesh-six events verify --expect`.

Examples:
  mesh-six events seal
  mesh-six events seal --json"
)]
pub(crate) struct SealArgs {
    #[command(flatten)]
    pub(crate) database: DatabaseArgs,
    #[command(flatten)]
    pub(crate) output: Output,
}

/// Which database.
#[derive(Args, Clone)]
pub(crate) struct DatabaseArgs {
    /// The database, past any pooler, as its owner
    #[arg(long, env = "DATABASE_DIRECT_URL", hide_env_values = true, value_name = "URL")]
    pub(crate) database_url: Option<String>,
    /// The data folder of `mesh-six up`, where no URL is given
    #[arg(long, env = "MESH_SIX_DATA_DIR", hide_env_values = true, value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,
}

#[derive(Args)]
#[command(after_help = "Examples:
  mesh-six migrate --status
  mesh-six migrate --dry-run
  DATABASE_URL=postgres://owner@localhost/mesh mesh-six migrate")]
pub(crate) struct MigrateArgs {
    /// Show each migration and whether the database has it
    #[arg(long, conflicts_with = "dry_run")]
    pub(crate) status: bool,
    /// Show what would be applied
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Revert the newest migration; refused while the log has events
    #[arg(long, conflicts_with_all = ["status", "dry_run"])]
    pub(crate) revert: bool,
    #[command(flatten)]
    pub(crate) database: DatabaseArgs,
    #[command(flatten)]
    pub(crate) output: Output,
}

#[derive(Args)]
#[command(after_help = "Examples:
  mesh-six partitions --ensure 3
  mesh-six partitions --repair
  mesh-six partitions --drop-before 2026-01 --dry-run")]
pub(crate) struct PartitionsArgs {
    /// Make the partitions of this month and so many after it
    #[arg(long, value_name = "MONTHS", allow_negative_numbers = true, value_parser = whole::<0, 120, i32>)]
    pub(crate) ensure: Option<i32>,
    /// Give rows that the default partition has caught a partition of their own; none is deleted
    #[arg(long)]
    pub(crate) repair: bool,
    /// Drop the months before this one that are closed, sealed and exported, and keys that nothing refers to
    #[arg(long, value_name = "MONTH", conflicts_with_all = ["ensure", "repair"])]
    pub(crate) drop_before: Option<Month>,
    /// Only say what would be dropped, and what is in the way
    #[arg(long, requires = "drop_before")]
    pub(crate) dry_run: bool,
    #[command(flatten)]
    pub(crate) database: DatabaseArgs,
    #[command(flatten)]
    pub(crate) output: Output,
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
