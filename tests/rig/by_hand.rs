//! The rig as a person uses it.

use std::{
    path::Path,
    process::{Command, Output, Stdio},
    sync::atomic::{AtomicU16, Ordering},
};

use mesh_six_testing::wait_until;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::support::SOON;

/// A rig's folder, and the end of whatever is in it when the test ends.
struct Home(tempfile::TempDir);

impl Home {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        // PostgreSQL's user passes through it.
        std::fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o711)).unwrap();
        Self(folder)
    }

    fn run(&self, args: &[&str]) -> Output {
        // Built along with this test, as a program of another package.
        let program = Path::new(env!("CARGO_BIN_EXE_mesh-six")).with_file_name("rig");
        let mut command = Command::new(program);
        command.args(args).env("MESH_SIX_RIG_FOLDER", self.0.path()).stdin(Stdio::null());
        for name in ["LITELLM_BASE_URL", "LLM_MODEL", "OTEL_EXPORTER_OTLP_ENDPOINT"] {
            command.env_remove(name);
        }
        command.output().unwrap()
    }

    fn up(&self, port: u16) -> Output {
        self.run(&["up", "--port", &port.to_string(), "--program", env!("CARGO_BIN_EXE_mesh-six")])
    }

    fn status(&self) -> Value {
        serde_json::from_slice(&self.run(&["status", "--json"]).stdout).unwrap()
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        self.run(&["down"]);
    }
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// All ports of a rig move with its front door's, so each has two hundred; below those that launchers choose.
fn front_door() -> u16 {
    static RIGS: AtomicU16 = AtomicU16::new(0);
    11_000 + 200 * RIGS.fetch_add(1, Ordering::Relaxed)
}

#[tokio::test]
#[ignore = "runs in a network namespace: cargo xtask test"]
async fn up_status_logs_and_down_do_what_they_say() {
    let home = Home::new();
    assert!(said(&home.run(&["status"])).starts_with("no rig is running"));
    let port = front_door();
    let up = home.up(port);
    let told = said(&up);
    assert!(up.status.success(), "{told}");
    let url = format!("http://127.0.0.1:{port}");
    for expected in ["postgresql", "rabbitmq", "redis", "simple-agent.daprd", &url, "cargo xtask rig down"] {
        assert!(told.contains(expected), "{expected}: {told}");
    }
    // The command line finds both halves of the public API behind the front door.
    let cli = |args: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mesh-six"));
        command.args(args).env("MESH_SIX_URL", &url).output().unwrap()
    };
    let submitted = cli(&["submit", "--json", "Why is the sky blue?"]);
    assert!(submitted.status.success(), "{}", said(&submitted));
    let task: Value = serde_json::from_slice(&submitted.stdout).unwrap();
    let events = cli(&["events", "query", "--json", "--task", task["taskId"].as_str().unwrap()]);
    assert!(said(&events).contains("task.completed"), "{}", said(&events));

    let second = home.up(front_door());
    assert!(!second.status.success() && said(&second).contains("a rig is running already"), "{}", said(&second));
    let status = home.status();
    assert_eq!(status["running"], true, "{status:#}");
    assert!(status["parts"].as_array().unwrap().iter().all(|part| part["pid"].is_u64()), "{status:#}");
    let logs = home.run(&["logs", "simple-agent.daprd"]);
    assert!(said(&logs).contains("Component loaded: agent-pubsub"), "{}", said(&logs));
    let unknown = home.run(&["logs", "nobody"]);
    assert!(!unknown.status.success() && said(&unknown).contains("there is no log of nobody"), "{}", said(&unknown));

    let down = home.run(&["down"]);
    assert!(down.status.success() && said(&down).starts_with("the rig is down"), "{}", said(&down));
    assert_eq!(home.status()["running"], false);
    assert_eq!(said(&home.run(&["down"])), "no rig is running\n");
}

#[tokio::test]
#[ignore = "runs in a network namespace: cargo xtask test"]
async fn what_a_killed_supervisor_leaves_is_named_and_ended() {
    let home = Home::new();
    let up = home.up(front_door());
    assert!(up.status.success(), "{}", said(&up));
    // Those that watch first, so that nobody is left who would end the rest.
    for wanted in ["watcher", "sh", "rig", "supervisor"] {
        for (pid, name) in members(home.0.path()) {
            if name == wanted || (wanted == "watcher" && name.ends_with("watcher")) {
                kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
            }
        }
    }
    wait_until(SOON, async || !members(home.0.path()).iter().any(|(_, name)| name == "rig")).await;
    let status = home.run(&["status"]);
    assert!(!status.status.success(), "{}", said(&status));
    let again = home.up(front_door());
    let told = said(&again);
    assert!(!again.status.success() && told.contains("left over from an earlier rig"), "{told}");
    for part in ["rabbitmq", "epmd", "redis", "postgres", "orchestrator", "event-logger.daprd"] {
        assert!(told.contains(&format!("{part} (process ")), "{part}: {told}");
    }
    let down = home.run(&["down"]);
    assert!(down.status.success(), "{}", said(&down));
    assert_eq!(members(home.0.path()), []);
}

#[tokio::test]
#[ignore = "runs in a network namespace: cargo xtask test"]
async fn a_killed_supervisor_takes_the_rig_with_it() {
    let home = Home::new();
    let up = home.up(front_door());
    assert!(up.status.success(), "{}", said(&up));
    let there = members(home.0.path());
    let (supervisor, _) = there.iter().find(|(_, name)| name == "supervisor").unwrap();
    kill_process(Pid::from_raw(*supervisor).unwrap(), Signal::KILL).unwrap();
    wait_until(SOON, async || members(home.0.path()).is_empty()).await;
    assert!(said(&home.run(&["status"])).starts_with("no rig is running"));
}

/// The processes with the mark of the rig in `folder`: process id, and the part or the program.
fn members(folder: &Path) -> Vec<(i32, String)> {
    let mark = format!("MESH_SIX_RIG={}", folder.display());
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        let environment = std::fs::read(entry.path().join("environ")).unwrap_or_default();
        let variables: Vec<_> = environment.split(|byte| *byte == 0).map(String::from_utf8_lossy).collect();
        if variables.iter().any(|variable| *variable == mark) {
            let program = std::fs::read_to_string(entry.path().join("comm")).unwrap_or_default().trim().to_owned();
            let part = variables.iter().find_map(|variable| variable.strip_prefix("MESH_SIX_RIG_PART="));
            let part = part.filter(|part| program == "rig" || !["rig", "supervisor"].contains(part));
            found.push((pid, part.map_or(program, str::to_owned)));
        }
    }
    found
}
