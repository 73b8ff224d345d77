//! A mesh in a process of its own, started the way a person starts it.

use std::{
    io::{BufRead, BufReader, Read},
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

use serde_json::Value;
use tempfile::TempDir;

/// The binary under test.
pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_mesh-six");
/// How long a mesh may take to start; machines are noisy, and nothing waits this long when all is well.
const START: Duration = Duration::from_secs(90);

/// A command of the binary with none of this process's settings.
pub(crate) fn command(args: &[&str]) -> Command {
    let mut command = Command::new(BINARY);
    command.args(args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    for name in [
        "DATABASE_URL",
        "PG_PRIMARY_URL",
        "DATABASE_DIRECT_URL",
        "LITELLM_BASE_URL",
        "LLM_MODEL",
        "API_TOKEN",
        "MESH_SIX_DATA_DIR",
        "MQTT_URL",
        "RUST_LOG",
        "COLUMNS",
    ] {
        command.env_remove(name);
    }
    command
}

/// A folder that another user may enter, since PostgreSQL does not run as root.
pub(crate) fn data_folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o711)).unwrap();
    folder
}

/// A running `mesh-six up`.
pub(crate) struct Mesh {
    child: Child,
    /// Its address.
    pub(crate) url: String,
    /// The line that it printed when it was up.
    pub(crate) banner: String,
}

impl Mesh {
    /// Starts `up` on a free port with `args` and `envs`, and waits for its banner.
    pub(crate) fn start(args: &[&str], envs: &[(&str, &str)]) -> Self {
        let mut all = vec!["up", "--port", "0"];
        all.extend(args);
        Self::spawn(command(&all).envs(envs.iter().copied()))
    }

    /// On this port, with a private PostgreSQL in `folder`.
    pub(crate) fn private(folder: &Path, port: u16, args: &[&str]) -> Self {
        let (folder, port) = (folder.join("data").display().to_string(), port.to_string());
        let mut all = vec!["up", "--port", &port, "--data-dir", &folder];
        all.extend(args);
        Self::spawn(&mut command(&all))
    }

    fn spawn(command: &mut Command) -> Self {
        let mut child = command.spawn().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        // Read on a thread, so that a mesh that never comes up fails the test instead of hanging it.
        let (sender, lines) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let mut line = String::new();
            while stdout.read_line(&mut line).is_ok_and(|n| n > 0) {
                let _ = sender.send(std::mem::take(&mut line));
            }
        });
        // What it says on stderr is kept for the failure's message, and never blocks it.
        let mut stderr = child.stderr.take().unwrap();
        let said = std::thread::spawn(move || {
            let mut text = String::new();
            let _ = stderr.read_to_string(&mut text);
            text
        });
        let begun = Instant::now();
        while begun.elapsed() < START {
            let Ok(line) = lines.recv_timeout(Duration::from_millis(200)) else {
                if child.try_wait().unwrap().is_some() {
                    break;
                }
                continue;
            };
            if let Some(url) = line.split_whitespace().find(|w| w.starts_with("http://")) {
                return Self { url: url.to_owned(), banner: line.trim().to_owned(), child };
            }
        }
        let _ = child.kill();
        let _ = child.wait();
        panic!("the mesh did not come up: {}", said.join().unwrap());
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Runs a command against this mesh.
    pub(crate) fn run(&self, args: &[&str]) -> Output {
        command(args).env("MESH_SIX_URL", &self.url).output().unwrap()
    }

    /// Runs a command that must succeed and gives each line of its output as JSON.
    pub(crate) fn json(&self, args: &[&str]) -> Vec<Value> {
        let output = self.run(args);
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{args:?} failed: {told}");
        let text = String::from_utf8(output.stdout).unwrap();
        text.lines().map(|l| serde_json::from_str(l).unwrap()).collect()
    }

    /// Sends a signal: `INT`, `TERM`, `KILL`, ...
    pub(crate) fn signal(&self, name: &str) {
        let status = Command::new("kill").args([&format!("-{name}"), &self.pid().to_string()]).status().unwrap();
        assert!(status.success());
    }

    /// Waits for its end and gives the exit code, `None` if a signal ended it.
    pub(crate) fn wait(&mut self, bound: Duration) -> Option<i32> {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            assert!(begun.elapsed() < bound, "the mesh did not end within {bound:?}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Mesh {
    fn drop(&mut self) {
        if self.child.try_wait().is_ok_and(|ended| ended.is_none()) {
            self.signal("TERM");
            let begun = Instant::now();
            while self.child.try_wait().is_ok_and(|ended| ended.is_none()) && begun.elapsed() < Duration::from_secs(30)
            {
                std::thread::sleep(Duration::from_millis(20));
            }
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// A port that is free now.
pub(crate) fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// An HTTP client; TLS needs its provider even where none is spoken.
pub(crate) fn http() -> reqwest::Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::new()
}
