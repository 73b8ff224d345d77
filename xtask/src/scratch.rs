//! Where tests keep what they throw away.
//!
//! They make and remove some hundred databases, each of a thousand files. On a disk most of the time goes into that: on
//! ext4 into the search for inodes that were not freed a moment ago. So these files lie in memory where there is plenty.

use std::{
    env, fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{self, Command},
};

use anyhow::{Context, Result};

use crate::steps::output;

const MEMORY: &str = "/dev/shm";
const PREFIX: &str = "mesh-six-tests-";
/// What must be free there and in memory. A whole run was seen to hold at most 1.8 GiB at once.
const NEEDED_GIB: u64 = 6;
const GIB: u64 = 1 << 30;

/// A folder for one run, gone when this is dropped; none where the usual one serves.
pub(crate) struct Scratch(Option<PathBuf>);

impl Scratch {
    /// In memory, unless the environment names a folder (`TMPDIR`) or memory is short.
    pub(crate) fn new() -> Result<Self> {
        if env::var_os("TMPDIR").is_some() || !is_roomy() {
            eprintln!("tests keep their files in {}", env::temp_dir().display());
            return Ok(Self(None));
        }
        remove_left_behind();
        let folder = Path::new(MEMORY).join(format!("{PREFIX}{}", process::id()));
        fs::create_dir(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        // As /tmp is: servers of the tests run as other users.
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o1777))?;
        eprintln!("tests keep their files in memory, in {}", folder.display());
        Ok(Self(Some(folder)))
    }

    /// Tells `command` where it is.
    pub(crate) fn tell(&self, command: &mut Command) {
        if let Some(folder) = &self.0 {
            command.env("TMPDIR", folder);
        }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Some(folder) = &self.0 {
            let _ = fs::remove_dir_all(folder);
        }
    }
}

/// Whether there is room in [`MEMORY`] and behind it.
fn is_roomy() -> bool {
    let room = output(Command::new("df").args(["--block-size=1", "--output=fstype,avail", MEMORY])).unwrap_or_default();
    let mut line = room.lines().nth(1).unwrap_or_default().split_whitespace();
    let (kind, room) = (line.next(), line.next().and_then(|bytes| bytes.parse::<u64>().ok()));
    let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let free = memory.lines().find_map(|line| line.strip_prefix("MemAvailable:")?.trim().strip_suffix("kB"));
    let free = free.and_then(|kib| kib.trim().parse::<u64>().ok()).map(|kib| kib * 1024);
    kind == Some("tmpfs") && [room, free].iter().all(|bytes| bytes.is_some_and(|bytes| bytes >= NEEDED_GIB * GIB))
}

/// What a run left that was killed.
fn remove_left_behind() {
    for entry in fs::read_dir(MEMORY).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let of_run = name.to_str().and_then(|name| name.strip_prefix(PREFIX));
        if of_run.is_some_and(|run| !Path::new("/proc").join(run).exists()) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}
