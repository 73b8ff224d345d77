//! Debian packages: which are missing, and getting them.

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt,
    path::Path,
    process::Command,
};

use anyhow::{Context, Result, bail};

use crate::steps::{find_program, is_root, output};

/// PostgreSQL's Debian package keeps a cluster of its own and starts it at once. While this file exists it does not:
/// we only want the programs.
const NO_CLUSTER: &str = "/etc/postgresql-common/createcluster.d/mesh-six.conf";

/// Other packages start their service at once. While this file exists and fails, they do not: ours run on ports and in
/// folders of their own.
const NO_SERVICES: &str = "/usr/sbin/policy-rc.d";
/// "Forbidden by policy."
const REFUSAL: &str = "#!/bin/sh\nexit 101\n";

const POSTGRESQL: &str = "postgresql-15";

/// A package and whether it is there.
pub(crate) struct Need {
    package: &'static str,
    there: bool,
}

impl Need {
    /// PostgreSQL 15 or newer, in any of the places where `mesh-six up` looks.
    pub(crate) fn postgresql() -> Self {
        Self { package: POSTGRESQL, there: has_postgresql() }
    }

    /// A package, if what it brings is not `there`.
    pub(crate) fn new(package: &'static str, there: bool) -> Self {
        Self { package, there }
    }

    /// A package that brings this program.
    pub(crate) fn program(package: &'static str, program: &str) -> Self {
        Self { package, there: find_program(program).is_some() }
    }
}

/// Installs what is missing, or says what to type.
pub(crate) fn ensure(needs: &[Need]) -> Result<()> {
    if needs.iter().all(|need| need.there) {
        return Ok(());
    }
    let may_install = find_program("apt-get").is_some() && is_root();
    if may_install {
        // A fresh machine has no lists yet, and does not know which packages there are.
        apt(&["update"])?;
    }
    let mut missing: Vec<String> =
        needs.iter().filter(|need| !need.there).map(|need| available(need.package)).collect();
    missing.dedup();
    let names = missing.join(" ");
    if find_program("apt-get").is_none() {
        bail!("missing: {names}; install them with this system's package manager");
    }
    if !may_install {
        bail!("missing: {names}; install them with: sudo apt-get update && sudo apt-get install --yes {names}");
    }
    eprintln!("missing Debian packages, installing them: {names}");
    let cluster_config = Path::new(NO_CLUSTER);
    if let Some(folder) = cluster_config.parent() {
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    }
    fs::write(cluster_config, "create_main_cluster = false\n").with_context(|| format!("cannot write {NO_CLUSTER}"))?;
    let mut args = vec!["install", "--yes", "--no-install-recommends"];
    args.extend(missing.iter().map(String::as_str));
    // The container engine's own service is what one wants of it.
    let engine = missing.iter().any(|package| package == "docker.io");
    let installed = if engine { apt(&args) } else { without_services(|| apt(&args)) };
    fs::remove_file(cluster_config).with_context(|| format!("cannot remove {NO_CLUSTER}"))?;
    installed
}

/// Somebody's own policy stays as it is.
fn without_services(install: impl FnOnce() -> Result<()>) -> Result<()> {
    let policy = Path::new(NO_SERVICES);
    if policy.exists() {
        return install();
    }
    let cannot = || format!("cannot write {NO_SERVICES}");
    fs::write(policy, REFUSAL).with_context(cannot)?;
    let installed = fs::set_permissions(policy, Permissions::from_mode(0o755)).with_context(cannot);
    let installed = installed.and_then(|()| install());
    fs::remove_file(policy).with_context(|| format!("cannot remove {NO_SERVICES}"))?;
    installed
}

fn apt(args: &[&str]) -> Result<()> {
    let mut command = Command::new("apt-get");
    output(command.arg("--quiet=2").args(args).env("DEBIAN_FRONTEND", "noninteractive")).map(|_| ())
}

/// `postgresql-15` where the distribution has it, else whatever version it has.
pub(crate) fn postgresql_package() -> String {
    available(POSTGRESQL)
}

fn available(package: &str) -> String {
    let known = output(Command::new("apt-cache").args(["show", "--no-all-versions", package]));
    let other = package == POSTGRESQL && !known.is_ok_and(|text| !text.is_empty());
    if other { "postgresql".to_owned() } else { package.to_owned() }
}

fn has_postgresql() -> bool {
    let mut servers = Vec::new();
    if let Ok(folder) = output(Command::new("pg_config").arg("--bindir")) {
        servers.push(Path::new(folder.trim()).join("postgres"));
    }
    servers.extend(find_program("postgres"));
    for (parent, tail) in [
        ("/usr/lib/postgresql", "bin/postgres"),
        ("/usr", "bin/postgres"),
        ("/usr/local/pgsql", "postgres"),
        ("/opt/homebrew/opt", "bin/postgres"),
        ("/usr/local/opt", "bin/postgres"),
    ] {
        let entries = fs::read_dir(parent).into_iter().flatten().flatten();
        servers.extend(entries.map(|entry| entry.path().join(tail)));
    }
    servers.iter().any(|server| {
        let version = output(Command::new(server).arg("--version")).unwrap_or_default();
        major(&version).is_some_and(|major| major >= 15)
    })
}

/// `postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)` gives 15.
fn major(version: &str) -> Option<u32> {
    let number = version.split("(PostgreSQL)").nth(1)?.trim_start();
    number.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_major_version_is_read() {
        assert_eq!(major("postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)"), Some(15));
        assert_eq!(major("postgres (PostgreSQL) 18beta1"), Some(18));
        assert_eq!(major("nonsense"), None);
    }
}
