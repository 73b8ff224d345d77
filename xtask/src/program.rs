//! The program as images hold it, linked statically, built from exactly what Nix would build it from.

use std::{
    collections::BTreeSet,
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};

use crate::{
    steps::{cargo, output, root, run},
    tools,
};

/// Which of Cargo's profiles.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Profile {
    /// As it is shipped; some minutes.
    Release,
    /// Quick to build, for tests that only run it.
    Container,
}

impl Profile {
    fn name(self) -> &'static str {
        match self {
            Self::Release => "release",
            Self::Container => "container",
        }
    }
}

/// Builds it where the tests of containers look for it.
pub(crate) fn build(profile: Profile) -> Result<PathBuf> {
    let built = build_in(&root().join("target/delivery"), profile)?;
    let folder = tools::folder().join("static");
    fs::create_dir_all(&folder)?;
    let program = folder.join("mesh-six");
    // Written anew, since the old one may be running.
    if program.exists() {
        fs::remove_file(&program)?;
    }
    fs::copy(&built, &program).with_context(|| format!("cannot copy {}", built.display()))?;
    Ok(program)
}

/// Two release builds in two folders give the same bytes, which name neither folder.
pub(crate) fn check_reproducible() -> Result<()> {
    let folders = ["first", "second/deeper"].map(|name| root().join("target/reproducible").join(name));
    let mut programs = Vec::new();
    for folder in &folders {
        programs.push(fs::read(build_in(folder, Profile::Release)?)?);
    }
    if programs[0] != programs[1] {
        bail!("two builds differ: compare the programs in {} and {}", folders[0].display(), folders[1].display());
    }
    let home = env::home_dir().unwrap_or_default();
    for place in [root(), &cargo_home(), &home] {
        let place = place.as_os_str().as_encoded_bytes();
        if place.len() > 1 && programs[0].windows(place.len()).any(|window| window == place) {
            bail!("the program names a folder of this machine: {}", String::from_utf8_lossy(place));
        }
    }
    eprintln!("two builds are the same {} bytes and name no folder of this machine", programs[0].len());
    Ok(())
}

fn cargo_home() -> PathBuf {
    env::var_os("CARGO_HOME").map_or_else(|| env::home_dir().unwrap_or_default().join(".cargo"), PathBuf::from)
}

/// Copies the sources into `folder`, builds there, and gives the program.
fn build_in(folder: &Path, profile: Profile) -> Result<PathBuf> {
    let sources = folder.join("source");
    copy_sources(&sources)?;
    let target = format!("{}-unknown-linux-gnu", env::consts::ARCH);
    let mut build = cargo(&["build", "--locked", "--package", "mesh-six", "--target", &target, "--profile"]);
    build.arg(profile.name()).arg("--target-dir").arg(folder.join("target")).current_dir(&sources);
    // Where it was built is nobody's business, and would make two builds differ.
    let remap = |from: &Path, to: &str| format!("--remap-path-prefix={}={to}", from.display());
    let flags = [
        "-Ctarget-feature=+crt-static".to_owned(),
        remap(&sources, "/source"),
        remap(&folder.join("target"), "/target"),
        remap(&cargo_home(), "/cargo"),
    ];
    let variable = format!("CARGO_TARGET_{}_RUSTFLAGS", target.to_uppercase().replace('-', "_"));
    run(build.env_remove("RUSTFLAGS").env(variable, flags.join(" ")))?;
    Ok(folder.join("target").join(target).join(profile.name()).join("mesh-six"))
}

/// Exactly the files that nix/source.nix names. What is the same already is left alone, so that Cargo sees what
/// changed.
fn copy_sources(to: &Path) -> Result<()> {
    let mut wanted = BTreeSet::new();
    for entry in nix_sources()? {
        collect(&root().join(entry), &mut wanted)?;
    }
    let mut old = BTreeSet::new();
    collect(to, &mut old)?;
    for file in &wanted {
        let target = to.join(file.strip_prefix(root())?);
        let content = fs::read(file)?;
        if !old.remove(&target) || fs::read(&target)? != content {
            fs::create_dir_all(target.parent().context("a file without a folder")?)?;
            fs::write(&target, content)?;
        }
    }
    for file in old {
        fs::remove_file(file)?;
    }
    Ok(())
}

/// The files and folders of the program, as Nix evaluates them with the tests' stand-in for nixpkgs.
fn nix_sources() -> Result<Vec<String>> {
    let expression = "(import ./nix/source.nix { lib = import ./tests/delivery/nixpkgs/lib.nix; }).program.files";
    let mut nix = Command::new("nix");
    nix.args(["--extra-experimental-features", "nix-command", "--store"]).arg(tools::folder().join("nix"));
    nix.args(["eval", "--impure", "--raw", "--expr"]).arg(format!("builtins.concatStringsSep \"\\n\" {expression}"));
    let files = output(nix.current_dir(root()))?;
    Ok(files.lines().map(str::to_owned).collect())
}

/// The files below `path`, or itself.
fn collect(path: &Path, files: &mut BTreeSet<PathBuf>) -> Result<()> {
    if path.is_dir() {
        for entry in fs::read_dir(path)? {
            collect(&entry?.path(), files)?;
        }
    } else if path.exists() {
        files.insert(path.to_owned());
    }
    Ok(())
}
