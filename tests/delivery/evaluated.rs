//! The flake as Nix evaluates it, with a stand-in for nixpkgs.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::LazyLock,
};

use serde_json::Value;

use crate::support::{copy, output, run, tool};

/// A copy of the repository, which Nix reads whole, so that it does not read the folder `target`.
pub(crate) static COPY: LazyLock<PathBuf> = LazyLock::new(|| {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("flake");
    if folder.exists() {
        fs::remove_dir_all(&folder).unwrap();
    }
    copy(&folder);
    folder
});

/// Nix with its own store in target/tools, so that the machine's is left alone.
fn nix(args: &[&str]) -> Command {
    let mut command = Command::new("nix");
    command.args(["--extra-experimental-features", "nix-command flakes", "--store"]).arg(tool("").join("nix"));
    command.args(args);
    command
}

/// A flake's command, with the stand-in for nixpkgs and without the network.
pub(crate) fn flake(folder: &Path, args: &[&str], attribute: &str) -> Result<String, String> {
    let mut command = nix(args);
    command.arg(format!("path:{}{attribute}", folder.display()));
    command.arg("--override-input").arg("nixpkgs");
    command.arg(format!("path:{}", folder.join("tests/delivery/nixpkgs").display()));
    command.args(["--no-write-lock-file", "--offline"]);
    output(&mut command, "")
}

/// The value of an output for x86_64-linux, such as `packages.x86_64-linux.mesh-six.version`.
pub(crate) fn value(attribute: &str) -> Value {
    let json = flake(&COPY, &["eval", "--json"], &format!("#{attribute}"));
    serde_json::from_str(&json.unwrap_or_else(|words| panic!("{attribute}:\n{words}"))).unwrap()
}

/// The value of a Nix expression that begins in the copy of the repository, or why it has none.
pub(crate) fn expression(folder: &Path, expression: &str) -> Result<Value, String> {
    let mut command = nix(&["eval", "--impure", "--json", "--expr", expression]);
    output(command.current_dir(folder), "").map(|json| serde_json::from_str(&json).unwrap())
}

/// The images' specs, by service.
pub(crate) fn services() -> Value {
    expression(&COPY, "import ./nix/services.nix { }").unwrap()
}

/// Whether Nix can read a file.
pub(crate) fn parses(file: &Path) -> String {
    run(Command::new("nix-instantiate").args(["--parse", "--store"]).arg(tool("").join("nix")).arg(file), "")
}
