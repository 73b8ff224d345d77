//! A program that runs in the background: started, ended in the ways in which programs end, started again.

use std::{
    env,
    ffi::OsStr,
    fs::{self, File, OpenOptions},
    io::{Read, Seek, SeekFrom},
    os::unix::{fs::OpenOptionsExt, process::CommandExt},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};

/// Which of a rig's parts a process is, and of which rig: by these variables leftovers are found and named.
pub const RIG_VARIABLE: &str = "MESH_SIX_RIG";
pub(crate) const PART_VARIABLE: &str = "MESH_SIX_RIG_PART";

/// What a program inherits of our environment. Everything else is given to it or not there.
const INHERITED: [&str; 6] = ["PATH", "HOME", "TMPDIR", "SSL_CERT_FILE", "RUST_BACKTRACE", RIG_VARIABLE];

const POLL: Duration = Duration::from_millis(10);
/// How much of a log an error repeats.
const TOLD: usize = 1500;

/// Ends the process ($1) when our end of the shell's standard input closes, that is when we die in whatever way: in
/// order, and after so many tenths of a second ($2) with its group at once.
const WATCH: &str = r#"
read -r _
kill -TERM "$1"
n=0
while kill -0 "$1" && [ "$n" -lt "$2" ]; do sleep 0.1; n=$((n + 1)); done
kill -KILL -"$1"
"#;

/// A program with its own process group, its output in a file, and a small shell that ends it if we are killed.
#[derive(Debug)]
pub struct Process {
    name: String,
    command: Command,
    log: PathBuf,
    grace: Duration,
    running: Option<Running>,
}

#[derive(Debug)]
struct Running {
    child: Child,
    watcher: Child,
}

impl Process {
    /// A program that does not run yet. What it says is appended to `log`; told to end, it has `grace` to do so.
    pub fn new(name: impl Into<String>, program: impl AsRef<OsStr>, log: impl Into<PathBuf>, grace: Duration) -> Self {
        let mut command = Command::new(program);
        command.env_clear().current_dir("/").stdin(Stdio::null()).process_group(0);
        command.envs(INHERITED.iter().filter_map(|name| Some((*name, env::var_os(name)?))));
        let name = name.into();
        command.env(PART_VARIABLE, &name);
        Self { name, command, log: log.into(), grace, running: None }
    }

    /// For arguments and environment, before it is started.
    pub fn command(&mut self) -> &mut Command {
        &mut self.command
    }

    /// Starts it. Does nothing if it runs.
    pub fn start(&mut self) -> Result<()> {
        if self.is_running() {
            return Ok(());
        }
        self.kill_nine();
        let log = OpenOptions::new().append(true).create(true).mode(0o600).open(&self.log);
        let log = log.with_context(|| format!("cannot write {}", self.log.display()))?;
        self.command.stdout(log.try_clone()?).stderr(log);
        let child = self.command.spawn();
        let mut child = child.with_context(|| format!("cannot run {}", self.command.get_program().display()))?;
        let tenths = self.grace.as_millis() / 100;
        let watcher = Command::new("sh")
            .args(["-c", WATCH, "sh", &child.id().to_string(), &tenths.to_string()])
            .env(PART_VARIABLE, format!("{}'s watcher", self.name))
            .process_group(0)
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        match watcher {
            Ok(watcher) => {
                self.running = Some(Running { child, watcher });
                Ok(())
            }
            Err(error) => {
                let _ = child.kill();
                let _ = child.wait();
                Err(error).context("cannot run sh")
            }
        }
    }

    /// Its name, as it was given.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its process id while it is there.
    pub fn pid(&self) -> Option<u32> {
        self.running.as_ref().map(|running| running.child.id())
    }

    /// Whether it runs now.
    pub fn is_running(&mut self) -> bool {
        self.running.as_mut().is_some_and(|running| matches!(running.child.try_wait(), Ok(None)))
    }

    /// Sends SIGTERM and returns at once.
    pub fn terminate(&mut self) {
        self.signal(Signal::TERM);
    }

    /// Stops it where it stands, as a machine that hangs would; [`Self::resume`] lets it go on.
    pub fn freeze(&mut self) {
        self.signal(Signal::STOP);
    }

    /// The end of [`Self::freeze`].
    pub fn resume(&mut self) {
        self.signal(Signal::CONT);
    }

    /// SIGTERM, and SIGKILL after its grace period. How it ended, if it ran.
    pub async fn stop(&mut self) -> Option<ExitStatus> {
        self.terminate();
        let deadline = Instant::now() + self.grace;
        while self.is_running() && Instant::now() < deadline {
            tokio::time::sleep(POLL).await;
        }
        self.kill_nine()
    }

    /// How it ended, once it has.
    pub async fn ended(&mut self, within: Duration) -> Option<ExitStatus> {
        let deadline = Instant::now() + within;
        while self.is_running() {
            if Instant::now() > deadline {
                return None;
            }
            tokio::time::sleep(POLL).await;
        }
        self.kill_nine()
    }

    /// SIGKILL for it and its group. How it ended, if it was there.
    pub fn kill_nine(&mut self) -> Option<ExitStatus> {
        let mut running = self.running.take()?;
        // The watcher first: the process id may belong to somebody else once the process was waited for.
        let _ = running.watcher.kill();
        let _ = running.watcher.wait();
        if let Ok(Some(status)) = running.child.try_wait() {
            return Some(status);
        }
        let _ = kill_process_group(Pid::from_child(&running.child), Signal::KILL);
        running.child.wait().ok()
    }

    /// Where its output goes.
    pub fn log_path(&self) -> &Path {
        &self.log
    }

    /// What it has said so far, over all its lives.
    pub fn log(&self) -> String {
        let text = fs::read(&self.log).unwrap_or_default();
        String::from_utf8_lossy(&text).into_owned()
    }

    /// Polls until `ready`; an error with the end of its log if it ends or does not get there within `limit`.
    pub(crate) async fn wait_ready(&mut self, limit: Duration, mut ready: impl AsyncFnMut() -> bool) -> Result<()> {
        let deadline = Instant::now() + limit;
        loop {
            if !self.is_running() {
                bail!("{} ended at its start; the end of {}:\n{}", self.name, self.log.display(), tail(&self.log));
            }
            if ready().await {
                return Ok(());
            }
            if Instant::now() > deadline {
                let log = self.log.display();
                bail!("{} is not ready after {limit:?}; the end of {log}:\n{}", self.name, tail(&self.log));
            }
            tokio::time::sleep(POLL).await;
        }
    }

    fn signal(&mut self, signal: Signal) {
        if self.is_running()
            && let Some(running) = &self.running
        {
            // The only failure that matters is that it has ended already.
            let _ = kill_process(Pid::from_child(&running.child), signal);
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.terminate();
        let deadline = Instant::now() + self.grace;
        while self.is_running() && Instant::now() < deadline {
            thread::sleep(POLL);
        }
        self.kill_nine();
    }
}

/// The end of a file.
pub(crate) fn tail(file: &Path) -> String {
    let mut text = Vec::new();
    if let Ok(mut file) = File::open(file)
        && let Ok(length) = file.seek(SeekFrom::End(0))
        && file.seek(SeekFrom::Start(length.saturating_sub(TOLD as u64))).is_ok()
    {
        let _ = file.read_to_end(&mut text);
    }
    String::from_utf8_lossy(&text).into_owned()
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may panic")]

    use super::*;
    use crate::wait_until;

    const SOON: Duration = Duration::from_secs(30);

    fn sleeper(folder: &Path, trap: &str) -> Process {
        let mut process = Process::new("sleeper", "sh", folder.join("log"), SOON);
        process.command().args(["-c", &format!("{trap}; echo begun; while :; do sleep 0.05; done")]);
        process
    }

    #[tokio::test]
    async fn a_process_ends_in_each_way_and_starts_again() {
        let folder = tempfile::tempdir().unwrap();
        let mut process = sleeper(folder.path(), "trap 'exit 7' TERM");
        for begun in 1..3 {
            process.start().unwrap();
            wait_until(SOON, async || process.log().matches("begun").count() == 2 * begun - 1).await;
            assert_eq!(process.stop().await.unwrap().code(), Some(7));
            process.start().unwrap();
            assert!(process.is_running());
            wait_until(SOON, async || process.log().matches("begun").count() == 2 * begun).await;
            assert_eq!(process.kill_nine().unwrap().code(), None);
            assert!(!process.is_running() && process.pid().is_none());
        }
    }

    #[tokio::test]
    async fn one_that_never_gets_ready_tells_the_end_of_its_log() {
        let folder = tempfile::tempdir().unwrap();
        let mut process = Process::new("quitter", "sh", folder.path().join("log"), SOON);
        process.command().args(["-c", "echo no luck; exit 1"]);
        process.start().unwrap();
        let error = process.wait_ready(SOON, async || false).await.unwrap_err().to_string();
        assert!(error.starts_with("quitter ended at its start") && error.ends_with("no luck\n"), "{error}");
    }

    #[tokio::test]
    async fn it_inherits_only_what_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let mut process = Process::new("env", "env", folder.path().join("log"), SOON);
        process.start().unwrap();
        process.ended(SOON).await.unwrap();
        let log = process.log();
        assert!(log.contains("MESH_SIX_RIG_PART=env\n") && log.contains("PATH="), "{log}");
        assert!(!log.contains("CARGO"), "{log}");
    }
}
