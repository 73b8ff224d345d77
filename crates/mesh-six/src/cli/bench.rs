//! `mesh-six bench`.

use clap::Args;

use super::Output;

#[derive(Args)]
#[command(
    after_help = "Measures in a database of its own, which is dropped at the end, also after Ctrl-C: on the server of
DATABASE_URL if set, else on a private PostgreSQL with fsync and synchronous_commit on.

Examples:
  mesh-six bench --quick
  mesh-six bench --only P1,P5
  mesh-six bench --json > bench.json"
)]
pub(crate) struct BenchArgs {
    /// Under a minute instead of under six: shorter turns, smaller tables
    #[arg(long)]
    pub(crate) quick: bool,
    /// Only these of P1 to P12, such as P1,P5
    #[arg(long, value_name = "IDS", value_delimiter = ',')]
    pub(crate) only: Vec<String>,
    #[command(flatten)]
    pub(crate) output: Output,
}
