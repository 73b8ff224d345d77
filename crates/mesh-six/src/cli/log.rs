//! Arguments of the commands that count, move and erase what is in the log.

use std::path::PathBuf;

use chrono::{DateTime, Utc};
use clap::Args;
use mesh_six_core::event::Position;
use mesh_six_db::seals::Month;
use uuid::Uuid;

use super::{
    DatabaseArgs, Output,
    values::{id, when},
};

#[derive(Args)]
#[command(after_help = "Examples:
  mesh-six events stats
  mesh-six events stats --since 7d --agent simple-agent
  mesh-six events stats --type llm.response --json")]
pub(crate) struct StatsArgs {
    /// Recorded since: a time, or how long ago, such as 15m, 24h, 7d
    #[arg(long, value_name = "WHEN", value_parser = when, default_value = "24h")]
    pub(crate) since: DateTime<Utc>,
    /// Recorded before: a time, or how long ago
    #[arg(long, value_name = "WHEN", value_parser = when)]
    pub(crate) until: Option<DateTime<Utc>>,
    /// Reported by this agent
    #[arg(long)]
    pub(crate) agent: Option<String>,
    /// Of this type, such as llm.response
    #[arg(long = "type", value_name = "TYPE")]
    pub(crate) event_type: Option<String>,
    #[command(flatten)]
    pub(crate) database: DatabaseArgs,
    #[command(flatten)]
    pub(crate) output: Output,
}

#[derive(Args)]
#[command(
    after_help = "One event a line, in the log's order. A file that is there already is gone on with, so the same
command again adds what is new. The whole of a closed month, exported into a file, is put on record: then
`mesh-six partitions --drop-before` may drop it.

Examples:
  mesh-six events export --out log.jsonl
  mesh-six events export --from 1-2f0-1a4-202610 | gzip > newer.jsonl.gz
  mesh-six events export --month 2026-10 --out 2026-10.jsonl"
)]
pub(crate) struct ExportArgs {
    /// Only events after this position
    #[arg(long, value_name = "POSITION", conflicts_with = "month")]
    pub(crate) from: Option<Position>,
    /// Only events recorded before: a time, or how long ago
    #[arg(long, value_name = "WHEN", value_parser = when, conflicts_with = "month")]
    pub(crate) to_time: Option<DateTime<Utc>>,
    /// Only the events recorded in this month, such as 2026-10
    #[arg(long, value_name = "MONTH")]
    pub(crate) month: Option<Month>,
    /// Into this file instead of the standard output
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
    /// Print what was written as JSON: rows, bytes, SHA-256, last position; the events go into the file
    #[arg(long, requires = "out")]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) database: DatabaseArgs,
}

#[derive(Args)]
#[command(after_help = "Only into an empty log. Ids, keys, times and order stay as they were; all or nothing.
A mesh writes as soon as it starts, so import before its first start: the import makes the schema,
and in a data folder the private server too.

Examples:
  mesh-six events import log.jsonl --data-dir ~/restored && mesh-six up --data-dir ~/restored
  gunzip -c log.jsonl.gz | DATABASE_URL=postgres://owner@localhost/mesh mesh-six events import -")]
pub(crate) struct ImportArgs {
    /// What `mesh-six events export` wrote; - is standard input
    pub(crate) file: PathBuf,
    #[command(flatten)]
    pub(crate) database: DatabaseArgs,
    #[command(flatten)]
    pub(crate) output: Output,
}

#[derive(Args)]
#[command(
    after_help = "What people wrote and models answered is removed: kept content of events, inputs and answers of
tasks, messages. Of a user also the name goes, wherever a task has it, and clients' keys. The events themselves hold
none of it and stay, with their hashes; only who asked for a task (requestedBy) is in them, so name people as userId.

Examples:
  mesh-six events erase --user ann --dry-run
  mesh-six events erase --task <id>"
)]
pub(crate) struct EraseArgs {
    #[command(flatten)]
    pub(crate) subject: SubjectArgs,
    /// Only say what would go
    #[arg(long)]
    pub(crate) dry_run: bool,
    #[command(flatten)]
    pub(crate) database: DatabaseArgs,
    #[command(flatten)]
    pub(crate) output: Output,
}

/// Whose content.
#[derive(Args)]
#[group(required = true, multiple = false)]
pub(crate) struct SubjectArgs {
    /// Of this event
    #[arg(long, value_name = "ID", value_parser = id)]
    pub(crate) event: Option<Uuid>,
    /// Of this task
    #[arg(long, value_name = "ID", value_parser = id)]
    pub(crate) task: Option<Uuid>,
    /// Of all tasks of this user
    #[arg(long, value_name = "NAME")]
    pub(crate) user: Option<String>,
}
