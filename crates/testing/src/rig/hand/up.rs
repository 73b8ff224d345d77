//! `rig up`.

use std::{
    env,
    ffi::OsString,
    fs::File,
    io::{BufRead, BufReader},
    os::unix::process::CommandExt,
    process::{Child, Command, Stdio},
};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use tokio::task::spawn_blocking;

use super::{
    UpArgs,
    leftovers::{SUPERVISOR, members, named},
    state::Home,
    status::{say, table},
};
use crate::launch::{PART_VARIABLE, RIG_VARIABLE, tail};

/// Starts a rig, waits until everything is ready, and says what runs where.
pub async fn up(args: UpArgs) -> Result<()> {
    let home = Home::find(args.home.folder.clone())?;
    home.make()?;
    let lock = home.lock()?;
    let there = members(home.path());
    if lock.is_none() {
        let supervisor = there.iter().find(|member| member.name == SUPERVISOR);
        let process = supervisor.map_or_else(String::new, |member| format!(" (process {})", member.pid));
        let url = home.state().map_or_else(|| "not ready yet".to_owned(), |state| state.url);
        bail!("a rig is running already{process}: {url}; see `cargo xtask rig status`, or end it with `down`");
    }
    if !there.is_empty() {
        bail!("left over from an earlier rig: {}; end them with `cargo xtask rig down`", named(&there));
    }
    // The supervisor takes it.
    drop(lock);
    let mut supervisor = spawn(&home)?;
    let output = supervisor.stdout.take().context("the supervisor has no output")?;
    let line = spawn_blocking(move || {
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line).map(|_| line)
    });
    let ready = tokio::select! {
        line = line => line?? == "ready\n",
        _ = tokio::signal::ctrl_c() => {
            let _ = kill_process(Pid::from_child(&supervisor), Signal::TERM);
            spawn_blocking(move || supervisor.wait()).await??;
            bail!("interrupted; everything was ended");
        }
    };
    if !ready {
        let status = spawn_blocking(move || supervisor.wait()).await??;
        bail!("the rig does not start ({status}); the end of {}:\n{}", home.log().display(), tail(&home.log()));
    }
    let state = home.state().context("the supervisor has told nothing")?;
    say(&table(&state, &home, &members(home.path())));
    Ok(())
}

/// In a process group of its own: Ctrl-C in the terminal is for us.
fn spawn(home: &Home) -> Result<Child> {
    let log = File::create(home.log()).with_context(|| format!("cannot write {}", home.log().display()))?;
    let args: Vec<OsString> = ["supervise".into()].into_iter().chain(env::args_os().skip(2)).collect();
    let mut command = Command::new(env::current_exe()?);
    command.args(args).env(RIG_VARIABLE, home.path()).env(PART_VARIABLE, SUPERVISOR).process_group(0);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log);
    command.spawn().context("cannot start the supervisor")
}
