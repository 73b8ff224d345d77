//! What belongs to a rig, by the marks that its processes carry in their environment. They are there whatever has become
//! of the supervisor and its files.

use std::{fs, path::Path};

use rustix::process::{Pid, Signal, kill_process};

use crate::launch::{PART_VARIABLE, RIG_VARIABLE};

/// Our own program.
const PROGRAM: &str = "rig";
/// The supervisor's name among the processes of a rig.
pub(super) const SUPERVISOR: &str = "supervisor";
/// That of the process in the namespace.
pub(super) const INSIDE: &str = "rig";

/// A process of a rig.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Member {
    pub(crate) pid: i32,
    /// The part that it is, or its program's name.
    pub(crate) name: String,
}

impl Member {
    /// Sends a signal. The only failure that matters is that it has ended already.
    pub(crate) fn signal(&self, signal: Signal) {
        if let Some(pid) = Pid::from_raw(self.pid) {
            let _ = kill_process(pid, signal);
        }
    }
}

/// The living processes of the rig in `folder`, ourselves excepted.
pub(crate) fn members(folder: &Path) -> Vec<Member> {
    let own = i32::try_from(std::process::id()).unwrap_or_default();
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).filter(|pid| *pid != own);
    let mut members: Vec<Member> = pids.filter_map(|pid| member(pid, folder)).collect();
    members.sort_by(|a, b| (&a.name, a.pid).cmp(&(&b.name, b.pid)));
    members
}

/// `None` for a process that is not ours, has ended, or may not be looked at.
fn member(pid: i32, folder: &Path) -> Option<Member> {
    let environment = fs::read(format!("/proc/{pid}/environ")).ok()?;
    let value = |name: &str| {
        let mut variables = environment.split(|byte| *byte == 0).filter_map(|entry| str::from_utf8(entry).ok());
        variables.find_map(|entry| entry.strip_prefix(name)?.strip_prefix('=').map(str::to_owned))
    };
    if value(RIG_VARIABLE)? != folder.to_str()? {
        return None;
    }
    let program = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    let program = program.trim();
    // What a process starts by itself, such as PostgreSQL, inherits its mark.
    let own = |part: &String| program == PROGRAM || ![SUPERVISOR, INSIDE].contains(&part.as_str());
    Some(Member { pid, name: value(PART_VARIABLE).filter(own).unwrap_or_else(|| program.to_owned()) })
}

/// `rabbitmq (process 12), redis (process 13)`, without the shells that only watch, unless there is nothing else.
pub(crate) fn named(members: &[Member]) -> String {
    let watches = |member: &&Member| member.name.ends_with("watcher") || member.name == "sh";
    let (only_watch, others): (Vec<_>, Vec<_>) = members.iter().partition(watches);
    let shown = if others.is_empty() { only_watch } else { others };
    shown.iter().map(|member| format!("{} (process {})", member.name, member.pid)).collect::<Vec<_>>().join(", ")
}
