//! `rig down`.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use rustix::process::Signal;
use tokio::time::sleep;

use super::{
    HomeArgs,
    leftovers::{Member, SUPERVISOR, members, named},
    state::Home,
    status::say,
};

const POLL: Duration = Duration::from_millis(50);
/// In order: services finish what they do.
const ORDERLY: Duration = Duration::from_mins(3);
/// What is left over has nobody to wait for it.
const LEFTOVERS: Duration = Duration::from_secs(15);
const KILLED: Duration = Duration::from_secs(5);

/// Ends everything that belongs to the rig, in order where its supervisor lives.
pub async fn down(args: HomeArgs) -> Result<()> {
    let home = Home::find(args.folder)?;
    let there = members(home.path());
    if there.is_empty() {
        home.remove_state();
        say("no rig is running\n");
        return Ok(());
    }
    let mut patience = LEFTOVERS;
    if let Some(supervisor) = there.iter().find(|member| member.name == SUPERVISOR) {
        supervisor.signal(Signal::TERM);
        patience = ORDERLY;
    } else {
        say(&format!("left over from an earlier rig, ending: {}\n", named(&there)));
        each(&there, Signal::TERM);
    }
    let mut left = gone(&home, patience).await;
    if !left.is_empty() {
        say(&format!("killing what does not end: {}\n", named(&left)));
        each(&left, Signal::KILL);
        left = gone(&home, KILLED).await;
    }
    home.remove_state();
    if !left.is_empty() {
        bail!("still there: {}", named(&left));
    }
    say(&format!("the rig is down; its logs are in {}\n", home.path().display()));
    Ok(())
}

fn each(members: &[Member], signal: Signal) {
    for member in members {
        member.signal(signal);
    }
}

/// Waits until nothing is left; what is, after that time. What the end of one part has orphaned is found anew each time.
async fn gone(home: &Home, patience: Duration) -> Vec<Member> {
    let deadline = Instant::now() + patience;
    loop {
        let left = members(home.path());
        if left.is_empty() || Instant::now() > deadline {
            return left;
        }
        sleep(POLL).await;
    }
}
