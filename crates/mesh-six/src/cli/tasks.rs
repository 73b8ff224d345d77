//! Arguments of the commands that ask for work and show who does it.

use std::path::PathBuf;

use clap::Args;
use uuid::Uuid;

use super::{
    Output, Target,
    values::{id, whole},
};

#[derive(Args)]
#[command(override_usage = "mesh-six submit [OPTIONS] <QUERY>
       mesh-six submit [OPTIONS] --payload <JSON>
       mesh-six submit [OPTIONS] --file <FILE>")]
#[command(after_help = "Examples:
  mesh-six submit \"Why is the sky blue?\"
  mesh-six submit --capability general-query --payload '{\"query\": \"...\"}' --json
  mesh-six submit --file examples/tasks.jsonl")]
pub(crate) struct SubmitArgs {
    /// The question, - for standard input; the same as --payload '{"query": ...}'
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
    /// The same key gives the same task; with --file, the same key and line
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
