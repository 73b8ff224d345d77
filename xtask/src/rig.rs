//! `cargo xtask rig`, and the tests beside real Dapr.

use std::{os::unix::process::CommandExt, path::PathBuf, process::Command};

use anyhow::{Context, Result};

use crate::{
    scratch::Scratch,
    steps::{cargo, root, run as run_command, target_folder},
    tools,
};

/// Tests that start whole rigs; more at once would only wait for each other.
const AT_ONCE: &str = "--test-threads=4";
/// What the names of such tests say in the crates.
const BESIDE: &str = "beside_dapr";

/// Sets up what is missing, builds both programs, and becomes the rig's.
pub(crate) fn run(args: &[String]) -> Result<()> {
    let asks_for_help = args.iter().any(|arg| arg == "--help" || arg == "-h");
    let starts = args.first().is_some_and(|command| command == "up") && !asks_for_help;
    if starts {
        tools::ensure_rig()?;
    }
    // One by one: built together, their dependencies would have other features than each alone has.
    if starts {
        run_command(&mut cargo(&["build", "--package", "mesh-six"]))?;
    }
    run_command(&mut cargo(&["build", "--quiet", "--package", "mesh-six-testing", "--bin", "rig"]))?;
    let mut rig = Command::new(program()?);
    rig.args(args);
    if starts {
        rig.arg("--program").arg(target_folder()?.join("debug/mesh-six"));
    }
    Err(rig.exec()).context("cannot run the rig")
}

/// Writes what is made from services.toml.
pub(crate) fn generate() -> Result<()> {
    run_command(&mut cargo(&["build", "--quiet", "--package", "mesh-six-testing", "--bin", "rig"]))?;
    run_command(Command::new(program()?).arg("generate").arg(root()))
}

/// Each test that needs real sidecars. They have been built along with the others; asking cargo for them alone would
/// build their dependencies again, with fewer features.
pub(crate) fn test(filter: Option<&str>, scratch: &Scratch) -> Result<()> {
    let of_crates = filter.is_none_or(|filter| filter.contains(BESIDE));
    for (suite, wanted) in [("it", filter.or(Some(BESIDE))), ("rig", filter)] {
        if suite == "it" && !of_crates {
            continue;
        }
        let mut test = cargo(&["test", "--offline", "--workspace", "--no-fail-fast", "--test", suite]);
        test.args(["--", "--ignored", AT_ONCE]).args(wanted);
        let mut isolated = isolated(&test)?;
        isolated.env_remove("TEST_DATABASE_URL").env("RUST_LIB_BACKTRACE", "0");
        scratch.tell(&mut isolated);
        run_command(&mut isolated)?;
    }
    Ok(())
}

/// The same program with the same arguments and variables in a network namespace of its own, where sidecars find each
/// other. The program that makes it has been built along with the tests.
pub(crate) fn isolated(command: &Command) -> Result<Command> {
    let mut isolated = Command::new(program()?);
    isolated.arg("isolated").arg(command.get_program()).args(command.get_args()).current_dir(root());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => isolated.env(name, value),
            None => isolated.env_remove(name),
        };
    }
    Ok(isolated)
}

fn program() -> Result<PathBuf> {
    Ok(target_folder()?.join("debug/rig"))
}
