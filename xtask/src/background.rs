//! Helpers that run while the tests do, and end when we do in whatever way.

use std::{
    io::{BufRead, BufReader},
    os::unix::process::CommandExt,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

use crate::{scratch::Scratch, steps::target_folder};

const PATIENCE: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(50);

/// A process that ends when its standard input closes, which also happens when we are killed.
pub(crate) struct Background {
    child: Child,
    name: &'static str,
}

impl Background {
    pub(crate) fn spawn(name: &'static str, command: &mut Command) -> Result<Self> {
        // A process group of its own: Ctrl-C is for us, and the closed pipe then ends the helper in order.
        let child = command.process_group(0).stdin(Stdio::piped()).spawn();
        Ok(Self { child: child.with_context(|| format!("cannot start {name}"))?, name })
    }

    pub(crate) fn has_ended(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let deadline = Instant::now() + PATIENCE;
        while !self.has_ended() {
            if Instant::now() > deadline {
                eprintln!("{} (process {}) does not end; killing it", self.name, self.child.id());
                let _ = self.child.kill();
                let _ = self.child.wait();
                return;
            }
            thread::sleep(POLL);
        }
    }
}

/// One PostgreSQL server for all tests. Gives its URL too. The program has been built along with the tests; asking
/// cargo for it alone would build its dependencies again, with fewer features.
pub(crate) fn postgresql(scratch: &Scratch) -> Result<(Background, String)> {
    let mut command = Command::new(target_folder()?.join("debug/test-postgres"));
    scratch.tell(&mut command);
    let mut server = Background::spawn("PostgreSQL", command.stdout(Stdio::piped()))?;
    let mut url = String::new();
    let output = server.child.stdout.as_mut().context("PostgreSQL's helper has no output")?;
    BufReader::new(output).read_line(&mut url)?;
    if url.trim().is_empty() {
        bail!("the tests' PostgreSQL did not start");
    }
    Ok((server, url.trim().to_owned()))
}
