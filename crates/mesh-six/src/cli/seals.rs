//! Arguments of the commands that seal the log and prove it.

use clap::Args;
use mesh_six_db::seals::Hash;

use super::{DatabaseArgs, Output, values::whole};

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
