//! Signals that end the process.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// The exit code of a process that is told twice to stop: as a shell's for Ctrl-C.
pub const EXIT_INTERRUPTED: i32 = 130;

/// A token that SIGTERM or SIGINT cancels. A second signal ends the process at once. Needs a tokio runtime.
pub fn shutdown_signal() -> CancellationToken {
    let token = CancellationToken::new();
    match (signal(SignalKind::terminate()), signal(SignalKind::interrupt())) {
        (Ok(term), Ok(interrupt)) => {
            tokio::spawn(watch(term, interrupt, token.clone()));
        }
        (Err(error), _) | (_, Err(error)) => warn(&error),
    }
    token
}

async fn watch(mut term: Signal, mut interrupt: Signal, token: CancellationToken) {
    let first = next(&mut term, &mut interrupt).await;
    tracing::info!(signal = first, "stopping; a second signal ends at once");
    token.cancel();
    let second = next(&mut term, &mut interrupt).await;
    tracing::warn!(signal = second, "ending at once");
    std::process::exit(EXIT_INTERRUPTED);
}

async fn next(term: &mut Signal, interrupt: &mut Signal) -> &'static str {
    tokio::select! {
        _ = term.recv() => "SIGTERM",
        _ = interrupt.recv() => "SIGINT",
    }
}

fn warn(error: &io::Error) {
    tracing::error!(error = error as &dyn std::error::Error, "signals cannot be watched; they end the process at once");
}
