//! The supervisor: outside the namespace, for as long as the rig runs. Not for people: `up` starts it.

use std::{
    env,
    ffi::OsString,
    io::{BufRead, BufReader, Write},
    process::{Child, ChildStdin, Command, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
    time::sleep,
};

use super::{
    UpArgs, forward, inside,
    leftovers::INSIDE,
    ports,
    state::{Home, State},
};
use crate::{launch::PART_VARIABLE, rig::Namespace, url};

const POLL: Duration = Duration::from_millis(50);
/// All services end at once, within what one of them takes.
const END: Duration = Duration::from_mins(3);

/// Runs a rig until it is told to end; prints `ready` once it is.
pub async fn supervise(args: UpArgs) -> Result<()> {
    let home = Home::find(args.home.folder.clone())?;
    let _lock = home.lock()?.context("another rig runs in this folder")?;
    home.remove_state();
    let mut ended = signal(SignalKind::terminate())?;
    // The terminal that started us may be closed.
    let mut ignored = [signal(SignalKind::hangup())?, signal(SignalKind::interrupt())?];
    let [hangup, interrupt] = &mut ignored;
    let listeners = listeners(&args, &home).await?;
    let namespace = if args.no_namespace { Namespace::Refused } else { Namespace::find() };
    let (mut child, told) = spawn(namespace)?;
    let state = loop {
        tokio::select! {
            _ = ended.recv() => return stop(&mut child).await,
            _ = hangup.recv() => {}
            _ = interrupt.recv() => {}
            () = sleep(POLL) => {}
        }
        match told.try_recv() {
            Ok(line) => break serde_json::from_str::<State>(&line).context("the rig's process told nonsense")?,
            Err(_) if child.0.try_wait()?.is_some() => bail!("the rig's process has ended"),
            Err(_) => {}
        }
    };
    let state = open(state, listeners, &home, namespace != Namespace::Refused)?;
    inside::render_for_others(&state, &home)?;
    home.write_state(&state)?;
    // Whoever started us may be gone, which is no reason to end.
    let _ = writeln!(std::io::stdout(), "ready");
    loop {
        tokio::select! {
            _ = ended.recv() => break,
            _ = hangup.recv() => {}
            _ = interrupt.recv() => {}
            () = sleep(POLL) => {}
        }
        if let Some(status) = child.0.try_wait()? {
            home.remove_state();
            bail!("the rig's process has ended ({status})");
        }
    }
    let stopped = stop(&mut child).await;
    home.remove_state();
    stopped
}

/// The front door first.
async fn listeners(args: &UpArgs, home: &Home) -> Result<Vec<(String, TcpListener)>> {
    let mut listeners = vec![(String::new(), forward::bind(args.port, "the public API").await?)];
    for (name, port) in ports::outside(&inside::spec(args, home), args.port)? {
        let listener = forward::bind(port, &name).await?;
        listeners.push((name, listener));
    }
    Ok(listeners)
}

/// Begins to forward, and gives the state with the addresses of this machine.
fn open(mut state: State, listeners: Vec<(String, TcpListener)>, home: &Home, isolated: bool) -> Result<State> {
    state.isolated = isolated;
    for (name, listener) in listeners {
        let address = listener.local_addr()?.to_string();
        if name.is_empty() {
            let inner = url::host(&state.url).rsplit_once(':').and_then(|(_, port)| port.parse().ok());
            forward::forward(listener, home.socket(), inner.context("the front door has no port")?);
            state.url = format!("http://{address}");
            continue;
        }
        let part = state.parts.iter_mut().find(|part| part.name == name);
        let part = part.with_context(|| format!("the rig has no part {name}"))?;
        forward::forward(listener, home.socket(), part.inner_port);
        let inner = format!("127.0.0.1:{}", part.inner_port);
        for (_, value) in &mut state.env {
            *value = value.replace(&inner, &address);
        }
        part.address = address;
    }
    Ok(state)
}

/// The rig's own process, which ends what it started when its standard input ends.
struct Inside(Child);

/// Also gives what it says when it is ready.
fn spawn(namespace: Namespace) -> Result<(Inside, mpsc::Receiver<String>)> {
    // The same arguments, with the other command.
    let args: Vec<OsString> = ["inside".into()].into_iter().chain(env::args_os().skip(2)).collect();
    let mut command: Command = namespace.command(env::current_exe()?, args.iter().map(OsString::as_os_str));
    let command = command.env(PART_VARIABLE, INSIDE).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().context("cannot start the rig's process")?;
    let output = child.stdout.take().context("the rig's process has no output")?;
    let (tell, told) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            let _ = tell.send(line);
        }
    });
    Ok((Inside(child), told))
}

async fn stop(child: &mut Inside) -> Result<()> {
    let input: Option<ChildStdin> = child.0.stdin.take();
    drop(input);
    let deadline = Instant::now() + END;
    while child.0.try_wait()?.is_none() {
        if Instant::now() > deadline {
            bail!("the rig's process does not end");
        }
        sleep(POLL).await;
    }
    Ok(())
}

impl Drop for Inside {
    /// Where something failed: the watchers of what it started end that.
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        if matches!(self.0.try_wait(), Ok(None)) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }
}
