//! `mesh-six completions`.

use std::process::ExitCode;

use clap::CommandFactory;

use crate::output;

/// Prints the script.
pub(crate) fn run(shell: clap_complete::Shell) -> anyhow::Result<ExitCode> {
    // Into memory first: the generator panics where it cannot write, and a closed pipe (`| head`) is no fault.
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut crate::cli::Cli::command(), "mesh-six", &mut script);
    output::print_line(String::from_utf8_lossy(&script).trim_end())?;
    Ok(ExitCode::SUCCESS)
}
