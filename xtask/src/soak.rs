//! `cargo xtask soak`.

use std::{os::unix::process::CommandExt, process::Command};

use anyhow::{Context, Result};

use crate::{
    steps::{cargo, root, run as run_command, target_folder},
    tools,
};

/// Sets up what is missing, builds what is shipped and the soak, and becomes it, in a network namespace of its own.
pub(crate) fn run(args: &[String]) -> Result<()> {
    tools::ensure_rig()?;
    run_command(&mut cargo(&[
        "build",
        "--release",
        "--package",
        "mesh-six",
        "--package",
        "mesh-six-testing",
        "--bins",
    ]))?;
    let built = target_folder()?.join("release");
    let mut soak = Command::new(built.join("rig"));
    soak.current_dir(root()).arg("isolated").arg(built.join("soak"));
    soak.arg("--program").arg(built.join("mesh-six"));
    soak.arg("--artefacts").arg(root().join("target/soak")).args(args);
    Err(soak.exec()).context("cannot run the soak")
}
