//! `rig status` and `rig env`.

use std::{
    fmt::Write as _,
    io::{self, Write as _},
    path::Path,
    process::ExitCode,
};

use anyhow::{Context, Result};
use serde_json::json;

use super::{
    HomeArgs,
    leftovers::{Member, SUPERVISOR, members, named},
    state::{Home, Part, State},
};

/// Says what runs; the exit code is 1 if something of it does not, or nothing does.
pub fn status(args: HomeArgs, as_json: bool) -> Result<ExitCode> {
    let home = Home::find(args.folder)?;
    let there = members(home.path());
    // Without the supervisor what is still there is ending, or left over.
    let state = home.state().filter(|_| there.iter().any(|member| member.name == SUPERVISOR));
    let whole = state.as_ref().is_some_and(|state| state.parts.iter().all(|part| pid(part, &there).is_some()));
    if as_json {
        let parts = state.iter().flat_map(|state| &state.parts).map(
            |part| json!({ "name": part.name, "pid": pid(part, &there), "address": part.address, "log": part.log }),
        );
        let parts: Vec<_> = parts.collect();
        let leftovers: Vec<_> = match &state {
            Some(_) => Vec::new(),
            None => there.iter().map(|member| json!({ "name": member.name, "pid": member.pid })).collect(),
        };
        say(&format!(
            "{}\n",
            json!({
                "running": whole,
                "url": state.as_ref().map(|state| &state.url),
                "isolated": state.as_ref().map(|state| state.isolated),
                "parts": parts,
                "leftovers": leftovers,
            })
        ));
    } else {
        match (&state, there.is_empty()) {
            (Some(state), _) => say(&table(state, &home, &there)),
            (None, true) => say("no rig is running; start one with: cargo xtask rig up\n"),
            (None, false) => {
                say(&format!("starting or ending, or left over from an earlier rig: {}\n", named(&there)));
            }
        }
    }
    Ok(if whole { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Prints what other programs need to know, for a shell's `eval`.
pub fn env(args: HomeArgs) -> Result<()> {
    let home = Home::find(args.folder)?;
    let state = home.state().context("no rig is running; start one with: cargo xtask rig up")?;
    let dapr = home.path().join("private/dapr");
    let mut text = format!("export MESH_SIX_URL='{}'\nexport MESH_SIX_DAPR='{}'\n", state.url, dapr.display());
    for (name, value) in &state.env {
        // Writing into a text cannot fail.
        let _ = writeln!(text, "export {name}='{value}'");
    }
    say(&text);
    Ok(())
}

/// Prints, for whoever still reads.
pub(super) fn say(text: &str) {
    let _ = io::stdout().write_all(text.as_bytes());
}

/// What runs where, and how to use it.
pub(super) fn table(state: &State, home: &Home, there: &[Member]) -> String {
    let mut text = String::new();
    let seconds = f64::from(u32::try_from(state.ready_after_ms).unwrap_or(u32::MAX)) / 1000.0;
    let place = if state.isolated { "in a network namespace of its own" } else { "on this machine's loopback device" };
    // Writing into a text cannot fail.
    let _ = writeln!(text, "the mesh beside Dapr is up after {seconds:.1} s, {place}\n");
    let width = state.parts.iter().map(|part| part.name.len()).max().unwrap_or_default();
    let _ = writeln!(text, "  {:width$}  {:>8}  {:15}  log", "part", "process", "address");
    for part in &state.parts {
        let pid = pid(part, there).map_or_else(|| "ENDED".to_owned(), |pid| pid.to_string());
        let log = part.log.strip_prefix(home.path()).unwrap_or(Path::new(&part.log)).display();
        let _ = writeln!(text, "  {:width$}  {pid:>8}  {:15}  {log}", part.name, part.address);
    }
    let _ = write!(
        text,
        "\nlogs are in {}\n\
         \n  export MESH_SIX_URL={}        # what mesh-six takes by itself where it is the default port\
         \n  mesh-six submit \"Why is the sky blue?\"\
         \n  cargo xtask rig logs simple-agent.daprd --follow\
         \n  eval \"$(cargo xtask rig env)\"                   # DATABASE_URL and the other addresses, with secrets\
         \n  cargo xtask rig down\n",
        home.path().display(),
        state.url,
    );
    text
}

/// The living process of a part. PostgreSQL's does not carry the part's name but its own.
fn pid(part: &Part, there: &[Member]) -> Option<i32> {
    let program = if part.name == "postgresql" { "postgres" } else { &part.name };
    there.iter().find(|member| member.name == program).map(|member| member.pid)
}
