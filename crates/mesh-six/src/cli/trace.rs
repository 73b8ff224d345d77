//! `mesh-six trace`.

use clap::Args;
use uuid::Uuid;

use super::{Output, Target, values::id};

#[derive(Args)]
#[command(
    after_help = "From the event log alone: the task, each attempt from dispatch to answer (░ before the agent began), each model
request and each tool call, with offset and duration, tokens, cost and errors. What is under way ends with ».

Examples:
  mesh-six trace 01a206f1-cc8b-7455-b34f-5bc9fe8106a1
  mesh-six trace 4bf92f3577b34da6a3ce929d0e0e4736
  mesh-six trace <id> --json"
)]
pub(crate) struct TraceArgs {
    /// A task's id, or a trace id
    #[arg(value_parser = id)]
    pub(crate) id: Uuid,
    #[command(flatten)]
    pub(crate) output: Output,
    #[command(flatten)]
    pub(crate) target: Target,
}
