//! `mesh-six verify`.

use clap::Args;

use super::{DatabaseArgs, Output, Target};

#[derive(Args)]
#[command(
    after_help = "Runs the acceptance criteria that can be seen from outside. It submits a few tasks, marked with the user
mesh-six-verify, and changes nothing else. With a database (DATABASE_URL, or the private one of a running
`mesh-six up`) it also looks at the tables.

Exit codes: 0 nothing failed and all of --require passed, 1 something did not, 2 usage, 3 cannot reach the mesh.

Examples:
  mesh-six verify
  mesh-six verify M1.3 M1.11 E.9
  mesh-six verify --require M1.1,M1.3,M1.11,E.9 --json"
)]
pub(crate) struct CriteriaArgs {
    /// Only these criteria, such as M1.11 or all of M1
    #[arg(value_name = "ID")]
    pub(crate) only: Vec<String>,
    /// These must pass: anything else, also not applicable, fails the command
    #[arg(long, value_name = "IDS", value_delimiter = ',')]
    pub(crate) require: Vec<String>,
    /// What the tasks ask for
    #[arg(long, default_value = "general-query")]
    pub(crate) capability: String,
    /// Where the event log is read, if it is not the mesh's address
    #[arg(long, env = "MESH_SIX_EVENTS_URL", hide_env_values = true, value_name = "URL")]
    pub(crate) events_url: Option<String>,
    #[command(flatten)]
    pub(crate) output: Output,
    #[command(flatten)]
    pub(crate) target: Target,
    #[command(flatten)]
    pub(crate) database: DatabaseArgs,
}
