//! `mesh-six dead-letters`.

use chrono::{DateTime, Utc};
use clap::{Args, Subcommand};

use super::{
    Output, Target,
    values::{letter, when, whole},
};

#[derive(Args)]
#[command(after_help = "A letter is named by its id or the beginning of it.

Examples:
  mesh-six dead-letters list
  mesh-six dead-letters show 3f2a9c01b4d7
  mesh-six dead-letters replay 3f2a9c01b4d7
  mesh-six dead-letters replay --all --topic task-results --yes")]
pub(crate) struct DeadLettersArgs {
    #[command(subcommand)]
    pub(crate) command: DeadLettersCommand,
}

#[derive(Subcommand)]
pub(crate) enum DeadLettersCommand {
    /// What failed for good and why, the newest failure first
    List(ListLettersArgs),
    /// One letter with the message as it came
    Show(ShowLetterArgs),
    /// Send messages again, each as the event that it was
    Replay(ReplayLettersArgs),
    /// Take letters out of the queue; their bytes are kept
    Discard(DiscardLettersArgs),
}

/// What must hold of a letter.
#[derive(Args, Clone)]
pub(crate) struct LetterConditions {
    /// Sent to this topic
    #[arg(long)]
    pub(crate) topic: Option<String>,
    /// Failed in a subscription of this app
    #[arg(long)]
    pub(crate) app: Option<String>,
    /// Failed last since: a time, or how long ago, such as 15m, 1h, 7d
    #[arg(long, value_name = "WHEN", value_parser = when)]
    pub(crate) since: Option<DateTime<Utc>>,
}

#[derive(Args)]
#[command(after_help = "Examples:
  mesh-six dead-letters list
  mesh-six dead-letters list --topic task-results --since 1h
  mesh-six dead-letters list --state all --json")]
pub(crate) struct ListLettersArgs {
    #[command(flatten)]
    pub(crate) conditions: LetterConditions,
    /// In this state
    #[arg(long, default_value = "waiting", value_parser = ["waiting", "replayed", "discarded", "all"])]
    pub(crate) state: String,
    /// How many, 1 to 200
    #[arg(long, default_value_t = 50, value_parser = whole::<1, 200, u16>)]
    pub(crate) limit: u16,
    #[command(flatten)]
    pub(crate) output: Output,
    #[command(flatten)]
    pub(crate) target: Target,
}

#[derive(Args)]
#[command(after_help = "Examples:
  mesh-six dead-letters show 3f2a9c01b4d7
  mesh-six dead-letters show 3f2a9c01b4d7 --raw > message.json")]
pub(crate) struct ShowLetterArgs {
    /// The letter
    #[arg(value_parser = letter)]
    pub(crate) id: String,
    /// Only the bytes, exactly as they came
    #[arg(long, conflicts_with = "json")]
    pub(crate) raw: bool,
    #[command(flatten)]
    pub(crate) output: Output,
    #[command(flatten)]
    pub(crate) target: Target,
}

/// Letters that are named, or all that wait.
#[derive(Args)]
pub(crate) struct ChosenLetters {
    /// The letters
    #[arg(value_name = "ID", value_parser = letter, required_unless_present = "all", conflicts_with = "all")]
    pub(crate) ids: Vec<String>,
    /// All that wait, as far as the conditions hold
    #[arg(long)]
    pub(crate) all: bool,
    /// Do not ask before --all
    #[arg(long, short)]
    pub(crate) yes: bool,
    #[command(flatten)]
    pub(crate) conditions: LetterConditions,
}

#[derive(Args)]
#[command(
    after_help = "The message goes to the topic that it came from with its own id, source and time. All who listen there get it:
those that had it know it by its id. What fails again waits again.

Examples:
  mesh-six dead-letters replay 3f2a9c01b4d7 77b0c2
  mesh-six dead-letters replay --all --app event-logger --since 1d
  mesh-six dead-letters replay 3f2a9c01b4d7 --again"
)]
pub(crate) struct ReplayLettersArgs {
    #[command(flatten)]
    pub(crate) letters: ChosenLetters,
    /// Also if it was replayed already: a broker may have lost it
    #[arg(long, conflicts_with = "all")]
    pub(crate) again: bool,
    #[command(flatten)]
    pub(crate) output: Output,
    #[command(flatten)]
    pub(crate) target: Target,
}

#[derive(Args)]
#[command(after_help = "A discarded letter can still be shown, and replayed by its id.

Examples:
  mesh-six dead-letters discard 3f2a9c01b4d7
  mesh-six dead-letters discard --all --topic task-progress --yes")]
pub(crate) struct DiscardLettersArgs {
    #[command(flatten)]
    pub(crate) letters: ChosenLetters,
    #[command(flatten)]
    pub(crate) output: Output,
    #[command(flatten)]
    pub(crate) target: Target,
}
