//! P11, P12: this binary as processes of their own: how soon ready, how much memory.

use std::{
    net::SocketAddr,
    process::Stdio,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
    time::{sleep, timeout},
};

use super::{
    Bench,
    http::Connection,
    ingest::{CONNECTIONS, Deliverer},
    load::{median, millis, run},
    machine::{field, kib},
    report::{Figure, Target},
};

/// How long a start may take.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long a process is left alone before its memory is read.
const IDLE: Duration = Duration::from_secs(1);
/// What the bench's own surroundings must not change in a service.
const REMOVED: [&str; 9] = [
    "API_TOKEN",
    "APP_API_TOKEN",
    "DAPR_API_TOKEN",
    "AGENT_ID",
    "LITELLM_BASE_URL",
    "DATABASE_DIRECT_URL",
    "OTEL_EXPORTER_OTLP_ENDPOINT",
    "LOG",
    "RUST_LOG",
];

/// Starts of the event logger, and its memory.
pub(super) async fn p11_p12(bench: &mut Bench<'_>, p11: bool, p12: bool) -> anyhow::Result<()> {
    let mut times = Vec::new();
    let starts = if bench.quick { 3 } else { 9 };
    if p11 {
        for _ in 0..starts {
            let (mut child, _, took) = service(bench).await?;
            times.push(millis(took));
            child.kill().await?;
        }
        let name = "event logger: process start to ready, no sidecar";
        bench.add(Figure::alone("P11", name, median(&times), "ms", Target::AtMost(50.0)));
        bench.note("P11", format!("until /readyz answers 200, database up; the middle one of {starts} starts"));
    }
    if p12 {
        let (mut child, address, _) = service(bench).await?;
        // Its writers connect with the first event.
        run(Deliverer::several(address, 1, 1).await?, Duration::ZERO).await?;
        sleep(IDLE).await;
        let idle = memory(&child, "VmRSS")?;
        let own = memory(&child, "RssAnon")?;
        run(Deliverer::several(address, CONNECTIONS, 1).await?, bench.window()).await?;
        let busy = memory(&child, "VmRSS")?;
        child.kill().await?;
        let (mut mesh, mut ready) = mesh(bench)?;
        timeout(PATIENCE, ready.next_line()).await.context("the mesh did not come up")??.context("the mesh ended")?;
        sleep(IDLE).await;
        let whole = memory(&mesh, "VmRSS")?;
        mesh.kill().await?;
        bench.add(Figure::alone("P12-idle", "event logger: memory, idle", idle, "MiB", Target::AtMost(15.0)));
        bench.add(Figure::alone("P12-busy", "event logger: memory, after P3", busy, "MiB", Target::AtMost(40.0)));
        bench.add(Figure::alone("P12-mesh", "mesh-six up: memory, idle", whole, "MiB", Target::AtMost(80.0)));
        let note = format!(
            "resident memory of a process of its own (VmRSS), without its PostgreSQL; of the idle one {own:.1} MiB are \
             its data (RssAnon), the rest are pages of the program file, which all services of a node share"
        );
        bench.note("P12", note);
    }
    Ok(())
}

/// A process of this binary that ends with us.
fn command(bench: &Bench<'_>) -> anyhow::Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    for name in REMOVED {
        command.env_remove(name);
    }
    command.env("DATABASE_URL", &bench.url).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    // A Ctrl-C is for us, who end it.
    command.kill_on_drop(true).process_group(0);
    Ok(command)
}

/// An event logger that is ready, and how long that took.
async fn service(bench: &Bench<'_>) -> anyhow::Result<(Child, SocketAddr, Duration)> {
    let port = std::net::TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port();
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let mut command = command(bench)?;
    command.args(["serve", "event-logger"]).env("APP_HOST", "127.0.0.1").env("APP_PORT", port.to_string());
    let begin = Instant::now();
    let mut child = command.spawn()?;
    loop {
        if let Ok(mut connection) = Connection::open(address).await
            && connection.get("/readyz").await.is_ok()
        {
            return Ok((child, address, begin.elapsed()));
        }
        ensure!(child.try_wait()?.is_none(), "the event logger ended at its start");
        ensure!(begin.elapsed() < PATIENCE, "the event logger did not become ready");
        sleep(Duration::from_millis(1)).await;
    }
}

/// A whole mesh; its first line says that it is up.
fn mesh(bench: &Bench<'_>) -> anyhow::Result<(Child, tokio::io::Lines<BufReader<tokio::process::ChildStdout>>)> {
    let mut command = command(bench)?;
    let mut child = command.args(["up", "--port", "0"]).stdout(Stdio::piped()).spawn()?;
    let output = child.stdout.take().context("no output")?;
    Ok((child, BufReader::new(output).lines()))
}

/// Memory in MiB, as `/proc` tells it under `name`.
#[expect(clippy::cast_precision_loss, reason = "memory in KiB is far below 2^53")]
fn memory(child: &Child, name: &str) -> anyhow::Result<f64> {
    let id = child.id().context("the process has ended")?;
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).context("memory is only told on Linux")?;
    let found = field(&status, name).with_context(|| format!("no {name}"))?;
    Ok(kib(&found) as f64 / 1024.0)
}
