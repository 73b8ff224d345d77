//! What other people's code may come in: bans, licences and sources of `deny.toml`. cargo-deny checks more than this
//! does, but is not on every machine and takes minutes to install.

use std::fs;

use anyhow::{Context, Result, bail};
use toml::{Table, Value};

use crate::{
    licence::satisfied,
    steps::{cargo, output, root, run, succeeds},
};

/// The one registry, as Cargo.lock names it.
const CRATES_IO: &str = "registry+https://github.com/rust-lang/crates.io-index";

/// Checks with cargo-deny where it is installed, else by ourselves. `all` installs it, and also asks for known
/// vulnerabilities, which needs the network.
pub(crate) fn check(all: bool) -> Result<()> {
    let installed = succeeds(&mut cargo(&["deny", "--version"]));
    if all && !installed {
        run(&mut cargo(&["install", "--locked", "cargo-deny"]))?;
    }
    if installed || all {
        run(&mut cargo(&["deny", "--workspace", "check", "bans", "licenses", "sources"]))?;
        if all && !succeeds(&mut cargo(&["deny", "fetch", "db"])) {
            eprintln!("NOT CHECKED: known vulnerabilities, since their list cannot be fetched");
        } else if all {
            run(&mut cargo(&["deny", "--workspace", "check", "advisories"]))?;
        }
        return Ok(());
    }
    eprintln!("cargo-deny is not installed: checking bans, licences and sources of deny.toml without it");
    let rules: Table = fs::read_to_string(root().join("deny.toml"))?.parse().context("deny.toml")?;
    let lock: Table = fs::read_to_string(root().join("Cargo.lock"))?.parse().context("Cargo.lock")?;
    let mut faults = banned(&rules, &lock)?;
    let mut tree = cargo(&["tree", "--workspace", "--target=all", "--prefix=none", "--format={p}\t{l}"]);
    tree.args(["--edges", "normal,build,dev"]).env("CARGO_TERM_COLOR", "never");
    let tree = output(&mut tree)?;
    faults.extend(unlicensed(&rules, &tree)?);
    if !faults.is_empty() {
        bail!("deny.toml forbids:\n  {}", faults.join("\n  "));
    }
    Ok(())
}

/// Crates of Cargo.lock that are banned or come from elsewhere.
fn banned(rules: &Table, lock: &Table) -> Result<Vec<String>> {
    let denied = rules["bans"]["deny"].as_array().context("deny.toml has no bans.deny")?;
    let denied: Vec<&str> = denied.iter().filter_map(|ban| ban.get("crate")?.as_str()).collect();
    let packages = lock["package"].as_array().context("Cargo.lock has no packages")?;
    let mut faults = Vec::new();
    for package in packages {
        let name = package.get("name").and_then(Value::as_str).unwrap_or_default();
        if denied.contains(&name) {
            faults.push(format!("{name}: banned"));
        }
        match package.get("source").and_then(Value::as_str) {
            None | Some(CRATES_IO) => {}
            Some(source) => faults.push(format!("{name}: comes from {source}")),
        }
    }
    Ok(faults)
}

/// Crates of `cargo tree` (name, version and more, a tab, licence) without an allowed licence.
fn unlicensed(rules: &Table, tree: &str) -> Result<Vec<String>> {
    let allowed = rules["licenses"]["allow"].as_array().context("deny.toml has no licenses.allow")?;
    let allowed: Vec<String> = allowed.iter().filter_map(Value::as_str).map(str::to_owned).collect();
    let mut faults: Vec<String> = tree
        .lines()
        .filter_map(|line| line.split_once('\t'))
        // A crate that was listed before is marked with a star.
        .map(|(package, licence)| (package, licence.trim_end_matches("(*)").trim()))
        .filter(|(_, licence)| !satisfied(licence, &allowed))
        .map(|(package, licence)| format!("{package}: licence {licence:?}"))
        .collect();
    faults.sort();
    faults.dedup();
    Ok(faults)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_named() -> Result<()> {
        let rules: Table = r#"
            bans.deny = [{ crate = "pq-sys", reason = "x" }]
            licenses.allow = ["MIT"]
        "#
        .parse()?;
        let lock: Table = r#"
            [[package]]
            name = "ours"
            [[package]]
            name = "pq-sys"
            source = "registry+https://github.com/rust-lang/crates.io-index"
            [[package]]
            name = "odd"
            source = "git+https://example.com/odd"
        "#
        .parse()?;
        assert_eq!(banned(&rules, &lock)?, ["pq-sys: banned", "odd: comes from git+https://example.com/odd"]);
        let tree = "\na v1\tMIT\nb v2 (proc-macro)\tGPL-3.0\nb v2 (proc-macro)\tGPL-3.0 (*)\nc v3\t";
        assert_eq!(unlicensed(&rules, tree)?, ["b v2 (proc-macro): licence \"GPL-3.0\"", "c v3: licence \"\""]);
        Ok(())
    }
}
