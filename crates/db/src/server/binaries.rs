//! Finds PostgreSQL's programs on this machine.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use super::ServerError;

/// The oldest version that the schema works with.
const OLDEST: u32 = 15;

/// One installation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Binaries {
    /// The folder with `postgres` and `initdb`.
    pub folder: PathBuf,
    /// The major version, such as 15.
    pub major: u32,
    /// The version as the server prints it, such as `15.18`.
    pub version: String,
}

impl Binaries {
    /// The newest installation of version 15 or newer; where `major` is given, only that version.
    pub fn find(major: Option<u32>) -> Result<Self, ServerError> {
        let mut best: Option<Self> = None;
        for found in candidates().iter().filter_map(|folder| Self::inspect(folder)) {
            let wanted = major.map_or(found.major >= OLDEST, |major| found.major == major);
            if wanted && best.as_ref().is_none_or(|best| found.major > best.major) {
                best = Some(found);
            }
        }
        best.ok_or(ServerError::NotFound)
    }

    fn inspect(folder: &Path) -> Option<Self> {
        if !folder.join("initdb").is_file() {
            return None;
        }
        let output = Command::new(folder.join("postgres")).arg("--version").output().ok()?;
        let version = parse_version(&String::from_utf8_lossy(&output.stdout))?;
        let major = version.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()?;
        Some(Self { folder: folder.to_owned(), major, version })
    }

    pub(super) fn program(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }
}

/// `postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)` gives `15.18`.
fn parse_version(output: &str) -> Option<String> {
    let rest = output.split("(PostgreSQL)").nth(1)?;
    rest.split_whitespace().next().map(str::to_owned)
}

/// Where to look, the most telling place first. Debian keeps the server's programs off the PATH.
fn candidates() -> Vec<PathBuf> {
    let mut folders = Vec::new();
    if let Ok(output) = Command::new("pg_config").arg("--bindir").output() {
        folders.push(PathBuf::from(String::from_utf8_lossy(&output.stdout).trim()));
    }
    if let Some(path) = env::var_os("PATH") {
        folders.extend(env::split_paths(&path));
    }
    folders.extend(inside("/usr/lib/postgresql", "", "bin"));
    folders.extend(inside("/usr", "pgsql-", "bin"));
    folders.push("/usr/local/pgsql/bin".into());
    for homebrew in ["/opt/homebrew/opt", "/usr/local/opt"] {
        folders.extend(inside(homebrew, "postgresql", "bin"));
    }
    folders.retain(|folder| folder.join("postgres").is_file());
    folders
}

/// `parent/{prefix}*/tail` for each folder that exists.
fn inside(parent: &str, prefix: &str, tail: &str) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(parent) else { return Vec::new() };
    entries
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().starts_with(prefix))
        .map(|entry| entry.path().join(tail))
        .collect()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read() {
        assert_eq!(parse_version("postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)\n").unwrap(), "15.18");
        assert_eq!(parse_version("postgres (PostgreSQL) 18beta1").unwrap(), "18beta1");
        assert_eq!(parse_version("bash: postgres: not found"), None);
    }

    #[test]
    fn a_version_that_is_not_there_is_not_found() {
        assert!(matches!(Binaries::find(Some(3)), Err(ServerError::NotFound)));
    }
}
