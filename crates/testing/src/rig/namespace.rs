//! A network namespace of its own, nameless, for everything that a rig starts.

use std::{
    ffi::OsStr,
    process::{Command, Stdio},
};

/// The loopback device comes up and carries multicast, by which sidecars find each other. What runs then has no rights
/// that it would not have outside.
const SET_UP: &str = "ip link set lo up && ip link set lo multicast on && ip route add 224.0.0.0/4 dev lo && ";

/// How this machine lets us make one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Namespace {
    /// As root.
    Root,
    /// Within a user namespace.
    User,
    /// Not at all.
    Refused,
}

impl Namespace {
    /// Tries it out.
    pub fn find() -> Self {
        let allowed = |namespace: &Self| {
            let mut command = namespace.command("true", []);
            let command = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            command.status().is_ok_and(|status| status.success())
        };
        [Self::Root, Self::User].into_iter().find(allowed).unwrap_or(Self::Refused)
    }

    /// Runs `program` in a new one; where none may be made, in the one that we are in.
    pub fn command<'a>(self, program: impl AsRef<OsStr>, args: impl IntoIterator<Item = &'a OsStr>) -> Command {
        let (options, become_it): (&[&str], _) = match self {
            Self::Root => (&["--net"], "exec \"$@\""),
            Self::User => (
                &["--user", "--map-current-user", "--keep-caps", "--net"],
                "exec setpriv --inh-caps=-all --ambient-caps=-all \"$@\"",
            ),
            Self::Refused => {
                let mut command = Command::new(program);
                command.args(args);
                return command;
            }
        };
        let mut command = Command::new("unshare");
        command.args(options).args(["sh", "-c", &format!("{SET_UP}{become_it}"), "sh"]).arg(program).args(args);
        command
    }
}
