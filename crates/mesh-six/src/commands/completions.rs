//! `mesh-six completions`.

use std::process::ExitCode;

use clap::CommandFactory;

/// Prints the script.
pub(crate) fn run(shell: clap_complete::Shell) -> ExitCode {
    clap_complete::generate(shell, &mut crate::cli::Cli::command(), "mesh-six", &mut std::io::stdout());
    ExitCode::SUCCESS
}
