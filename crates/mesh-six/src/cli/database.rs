//! Arguments that name the database, and of the commands that keep it.

use std::path::PathBuf;

use clap::Args;
use mesh_six_db::seals::Month;

use super::{Output, values::whole};

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
