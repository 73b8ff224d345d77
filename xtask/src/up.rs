//! `cargo xtask up`.

use std::{
    env, fs,
    os::unix::{fs::symlink, process::CommandExt},
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};

use crate::{
    packages::{Need, ensure},
    steps::{self, cargo, target_folder},
};

/// Sets up what is missing, builds the program and becomes it, so that Ctrl-C and the exit code are its own.
pub(crate) fn run(args: Vec<String>) -> Result<()> {
    let (ours, args): (Vec<_>, Vec<_>) = args.into_iter().partition(|arg| arg == "--release");
    let asks_for_help = args.iter().any(|arg| arg == "--help" || arg == "-h");
    let has_database = env::var_os("DATABASE_URL").is_some_and(|url| !url.is_empty());
    if !has_database && !asks_for_help {
        ensure(&[Need::postgresql()])?;
    }
    build_and_become(&args, !ours.is_empty())
}

fn build_and_become(args: &[String], release: bool) -> Result<()> {
    let mut build = cargo(&["build", "--package", "mesh-six"]);
    if release {
        build.arg("--release");
    }
    steps::run(&mut build)?;
    let program = target_folder()?.join(if release { "release" } else { "debug" }).join("mesh-six");
    link(&program);
    let error = Command::new(&program).arg("up").args(args).exec();
    Err(error).with_context(|| format!("cannot run {}", program.display()))
}

/// Makes `mesh-six` a command in the folder that rustup put on the PATH. A program that somebody installed there
/// stays.
fn link(program: &Path) {
    let home = env::home_dir().unwrap_or_default();
    let folder = env::var_os("CARGO_HOME").map_or_else(|| home.join(".cargo"), PathBuf::from).join("bin");
    let link = folder.join("mesh-six");
    if !folder.is_dir() || fs::read_link(&link).is_ok_and(|target| target == program) {
        return;
    }
    let taken = link.symlink_metadata().is_ok_and(|meta| !meta.is_symlink());
    if !taken && (fs::remove_file(&link).is_ok() || !link.exists()) && symlink(program, &link).is_ok() {
        eprintln!("the command mesh-six is now {}", link.display());
    }
}
