//! Arguments of `mesh-six events` and of the commands that read the log.

use chrono::{DateTime, Utc};
use clap::{Args, Subcommand};
use mesh_six_core::{TraceId, event::Position};
use uuid::Uuid;

use super::{
    EraseArgs, ExportArgs, ImportArgs, Output, SealArgs, StatsArgs, Target, VerifyArgs,
    values::{beginning, id, when, whole},
};

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
