//! What can go wrong with the private server. Each message is one line that says what to do.

use std::{io, path::PathBuf};

use tokio_postgres::error::SqlState;

/// Why the private PostgreSQL server could not be used.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// No usable installation on this machine.
    #[error("PostgreSQL 15 or newer was not found; install it with: apt-get install postgresql-15")]
    NotFound,
    /// The data folder belongs to a version that is not installed any more.
    #[error(
        "the database in {} was made by PostgreSQL {major}, which was not found; \
         install it with: apt-get install postgresql-{major}",
        folder.display()
    )]
    VersionMissing {
        /// The data folder.
        folder: PathBuf,
        /// The major version it needs.
        major: u32,
    },
    /// Run as root, but there is nobody to run PostgreSQL as.
    #[error(
        "PostgreSQL refuses to run as root and there is no user postgres; make one with: useradd --system postgres"
    )]
    NoUser,
    /// Run as root, and the server's user cannot reach the data folder.
    #[error(
        "PostgreSQL runs as user postgres, who may not enter {}; \
         choose another folder with --data-dir, or allow it with: chmod a+x {}",
        folder.display(), folder.display()
    )]
    NotTraversable {
        /// The first folder on the way that is closed.
        folder: PathBuf,
    },
    /// Somebody else could put files into the data folder.
    #[error("{} belongs to another user or is writable for everyone; choose another folder with --data-dir", folder.display())]
    Unsafe {
        /// The data folder.
        folder: PathBuf,
    },
    /// Another process holds the data folder.
    #[error("{} is in use by another mesh-six{holder}; stop it, or choose another folder with --data-dir", folder.display())]
    Locked {
        /// The data folder.
        folder: PathBuf,
        /// ` (process 123)` where it is known.
        holder: String,
    },
    /// No space left for the database.
    #[error("the disk is full: {detail}")]
    DiskFull {
        /// What could not be written.
        detail: String,
    },
    /// The port that was asked for is taken.
    #[error("port {port} on 127.0.0.1 is taken; choose another one for PostgreSQL")]
    PortTaken {
        /// The port.
        port: u16,
    },
    /// A server left by an earlier run would not end.
    #[error(
        "PostgreSQL (process {pid}) still runs on this data folder and does not end; stop it with: kill -QUIT {pid}"
    )]
    Leftover {
        /// Its process id.
        pid: i32,
    },
    /// `initdb` failed for another reason.
    #[error("initdb failed: {detail}")]
    Init {
        /// Its own words.
        detail: String,
    },
    /// The server ended, or did not answer in time.
    #[error("PostgreSQL did not start: {detail} (more in {})", log.display())]
    Start {
        /// Its own words.
        detail: String,
        /// Its log file.
        log: PathBuf,
    },
    /// A file, folder or program could not be used.
    #[error("cannot use {}", path.display())]
    Io {
        /// Which one.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The server runs but refused a statement.
    #[error("PostgreSQL refused a statement")]
    Query(#[source] tokio_postgres::Error),
}

impl ServerError {
    /// Keeps the path with the error, and tells a full disk apart.
    pub(super) fn io(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                Self::DiskFull { detail: format!("cannot write {}", path.display()) }
            }
            _ => Self::Io { path, source },
        }
    }
}

impl From<tokio_postgres::Error> for ServerError {
    fn from(error: tokio_postgres::Error) -> Self {
        match error.as_db_error() {
            Some(told) if *told.code() == SqlState::DISK_FULL => Self::DiskFull { detail: told.message().to_owned() },
            _ => Self::Query(error),
        }
    }
}

/// The one line of a program's output that says why it failed, without date and rank; `otherwise`, or the last line,
/// where none says so.
pub(super) fn telling_line(output: &str, otherwise: Option<&str>) -> String {
    let lines = || output.lines().map(str::trim).filter(|line| !line.is_empty());
    let marked = |marks: &[&str]| lines().find(|line| marks.iter().any(|mark| line.contains(mark)));
    let marks = ["PANIC:", "FATAL:", "error:"];
    let line = marked(&[NO_SPACE]).or_else(|| marked(&marks)).or(otherwise).or_else(|| lines().next_back());
    let line = line.unwrap_or("it gave no reason");
    let bare = marks.iter().find_map(|mark| line.split_once(mark)).map_or(line, |(_, rest)| rest);
    bare.trim().to_owned()
}

/// How the C library words a full disk under `LC_ALL=C`.
pub(super) const NO_SPACE: &str = "No space left on device";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_telling_line_is_found() {
        let output = "creating configuration files ... ok\n\
             2026 FATAL:  could not write to file \"x\": No space left on device\n\
             child process exited with exit code 1\ninitdb: removing contents";
        assert_eq!(telling_line(output, None), "could not write to file \"x\": No space left on device");
        assert_eq!(telling_line("a\ninitdb: error: no way\nb", Some("a")), "no way");
        assert_eq!(telling_line("first\nlast\n\n", None), "last");
        assert_eq!(telling_line("first\nlast\n\n", Some("sh: cannot create x")), "sh: cannot create x");
        assert_eq!(telling_line("", None), "it gave no reason");
    }
}
