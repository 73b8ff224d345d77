//! The server's process: starting, ending, killing, and what an earlier run left behind.

use std::{
    fs::{self, File, OpenOptions},
    io::{Read, Seek, SeekFrom},
    os::unix::fs::OpenOptionsExt,
    os::unix::process::CommandExt,
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

use super::{ServerError, account::Account, clean_environment};

/// How long a fast shutdown may take before the server is told to stop at once.
const FAST_SHUTDOWN: Duration = Duration::from_secs(30);
/// How long an immediate shutdown may take before the process is killed.
const IMMEDIATE_SHUTDOWN: Duration = Duration::from_secs(5);
const POLL: Duration = Duration::from_millis(10);
/// A log that has grown beyond this is begun anew at the next start.
const LOG_LIMIT: u64 = 16 << 20;

/// Ends the server ($1) with a signal ($2) when our end of the shell's standard input closes, that is when we die in
/// whatever way. Then removes the folder ($3) of a throwaway server.
const WATCH: &str = r#"
read -r _
kill -"$2" "$1"
[ -n "$3" ] || exit 0
n=0
while kill -0 "$1" && [ "$n" -lt 100 ]; do sleep 0.1; n=$((n + 1)); done
rm -rf -- "$3"
"#;

/// A running `postgres` and the small shell that ends it if we are killed.
#[derive(Debug)]
pub(super) struct Postmaster {
    child: Child,
    watcher: Child,
    /// Nobody needs the data afterwards, so shutting down may skip the final checkpoint.
    throwaway: bool,
}

impl Postmaster {
    /// Starts `command` with its output going to `log`. Also gives the log's length at the start. A folder that is
    /// given as `throwaway` is removed if we are killed.
    pub(super) fn spawn(
        mut command: Command,
        log: &Path,
        account: Option<Account>,
        throwaway: Option<&Path>,
    ) -> Result<(Self, u64), ServerError> {
        let output =
            OpenOptions::new().append(true).create(true).mode(0o600).open(log).map_err(ServerError::io(log))?;
        let mut begin = output.metadata().map_err(ServerError::io(log))?.len();
        if begin > LOG_LIMIT {
            output.set_len(0).map_err(ServerError::io(log))?;
            begin = 0;
        }
        let errors = output.try_clone().map_err(ServerError::io(log))?;
        clean_environment(&mut command, account);
        // A process group of its own: Ctrl-C in the terminal is for mesh-six, which then stops PostgreSQL in order.
        command.process_group(0).stdin(Stdio::null()).stdout(output).stderr(errors);
        let program = command.get_program().to_owned();
        let mut child = command.spawn().map_err(ServerError::io(program))?;
        let watcher = Command::new("sh")
            .args(["-c", WATCH, "sh", &child.id().to_string()])
            .arg(if throwaway.is_some() { "QUIT" } else { "INT" })
            .arg(throwaway.unwrap_or(Path::new("")))
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        match watcher {
            Ok(watcher) => Ok((Self { child, watcher, throwaway: throwaway.is_some() }, begin)),
            Err(source) => {
                signal(Pid::from_child(&child), Signal::KILL);
                let _ = child.wait();
                Err(ServerError::Io { path: "sh".into(), source })
            }
        }
    }

    pub(super) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(super) fn has_ended(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }

    /// Sends the next stronger signal each time the server does not end in time.
    pub(super) async fn stop(&mut self) {
        self.dismiss_watcher();
        for (sign, patience) in self.escalation() {
            if self.has_ended() {
                return;
            }
            signal(Pid::from_child(&self.child), sign);
            let deadline = Instant::now() + patience;
            while !self.has_ended() && Instant::now() < deadline {
                tokio::time::sleep(POLL).await;
            }
        }
    }

    /// What a power cut would do: the server and everything it started are killed.
    pub(super) fn kill_nine(&mut self) {
        self.dismiss_watcher();
        let pid = Pid::from_child(&self.child);
        let children = children(pid);
        signal(pid, Signal::KILL);
        for child in children {
            signal(child, Signal::KILL);
        }
        let _ = self.child.wait();
    }

    fn escalation(&self) -> Vec<(Signal, Duration)> {
        let all =
            [(Signal::INT, FAST_SHUTDOWN), (Signal::QUIT, IMMEDIATE_SHUTDOWN), (Signal::KILL, IMMEDIATE_SHUTDOWN)];
        all.into_iter().skip(usize::from(self.throwaway)).collect()
    }

    /// Must come before the server is waited for: its process id may belong to somebody else afterwards.
    fn dismiss_watcher(&mut self) {
        let _ = self.watcher.kill();
        let _ = self.watcher.wait();
    }
}

impl Drop for Postmaster {
    fn drop(&mut self) {
        self.dismiss_watcher();
        for (sign, patience) in self.escalation() {
            if self.has_ended() {
                return;
            }
            signal(Pid::from_child(&self.child), sign);
            let deadline = Instant::now() + patience;
            while !self.has_ended() && Instant::now() < deadline {
                thread::sleep(POLL);
            }
        }
    }
}

/// Ends a server that an earlier run left on this cluster, and forgets a process id that now belongs to somebody
/// else. Only called while the data folder's lock is held.
pub(super) async fn end_leftover(cluster: &Path) -> Result<bool, ServerError> {
    let file = cluster.join("postmaster.pid");
    let Ok(text) = fs::read_to_string(&file) else { return Ok(false) };
    let pid = text.lines().next().and_then(|line| line.trim().parse().ok()).and_then(Pid::from_raw);
    let Some(pid) = pid else { return Ok(false) };
    if !serves(pid, cluster) {
        if command_line(pid).is_some() {
            // PostgreSQL would take any living process of its user for a server and refuse to start.
            fs::remove_file(&file).map_err(ServerError::io(&file))?;
        }
        return Ok(false);
    }
    for (sign, patience) in [(Signal::INT, FAST_SHUTDOWN), (Signal::QUIT, IMMEDIATE_SHUTDOWN)] {
        signal(pid, sign);
        let deadline = Instant::now() + patience;
        while Instant::now() < deadline {
            if !serves(pid, cluster) {
                return Ok(true);
            }
            tokio::time::sleep(POLL).await;
        }
    }
    Err(ServerError::Leftover { pid: pid.as_raw_nonzero().get() })
}

/// What the server wrote to its log since it was started.
pub(super) fn log_since(log: &Path, begin: u64) -> String {
    let mut text = Vec::new();
    if let Ok(mut file) = File::open(log)
        && file.seek(SeekFrom::Start(begin)).is_ok()
        && file.take(1 << 20).read_to_end(&mut text).is_ok()
    {
        return String::from_utf8_lossy(&text).into_owned();
    }
    String::new()
}

/// Whether this living process is a server on this cluster: we always start it with the cluster's full path.
fn serves(pid: Pid, cluster: &Path) -> bool {
    command_line(pid).is_some_and(|line| line.contains("postgres") && line.contains(&*cluster.to_string_lossy()))
}

/// `None` for a process that has ended, a zombie included.
fn command_line(pid: Pid) -> Option<String> {
    let pid = pid.as_raw_nonzero();
    let line = if Path::new("/proc/self/cmdline").exists() {
        String::from_utf8_lossy(&fs::read(format!("/proc/{pid}/cmdline")).ok()?).into_owned()
    } else {
        let output = Command::new("ps").args(["-o", "command=", "-p", &pid.to_string()]).output().ok()?;
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    Some(line.trim_matches(['\0', '\n', ' ']).to_owned()).filter(|line| !line.is_empty())
}

/// The processes that this one started; empty where the system does not tell.
fn children(pid: Pid) -> Vec<Pid> {
    let pid = pid.as_raw_nonzero();
    let list = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    list.split_whitespace().filter_map(|pid| pid.parse().ok()).filter_map(Pid::from_raw).collect()
}

fn signal(pid: Pid, signal: Signal) {
    // The only failure that matters is that it has ended already, which is what was wanted.
    let _ = kill_process(pid, signal);
}
