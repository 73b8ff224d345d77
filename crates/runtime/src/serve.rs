//! Serves a router until told to stop, then lets requests in flight finish.

use std::{io, time::Duration};

use axum::{Router, serve::ListenerExt};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// How long requests in flight may take after the end was asked for.
pub const DEFAULT_GRACE: Duration = Duration::from_secs(10);

/// Serves `router` on `listener` until `shutdown`, then for at most [`DEFAULT_GRACE`] what is in flight.
pub async fn serve(listener: TcpListener, router: Router, shutdown: CancellationToken) -> io::Result<()> {
    serve_with_grace(listener, router, shutdown, DEFAULT_GRACE).await
}

/// As [`serve`], with a `grace` of one's own. Streams that never end must watch `shutdown` themselves, or they
/// use up the whole grace.
pub async fn serve_with_grace(
    listener: TcpListener,
    router: Router,
    shutdown: CancellationToken,
    grace: Duration,
) -> io::Result<()> {
    let listener = listener.tap_io(|stream| {
        // Answers are small and written whole: waiting to fill a packet only costs time.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(error = &error as &dyn std::error::Error, "TCP_NODELAY was refused");
        }
    });
    let server = axum::serve(listener, router).with_graceful_shutdown(shutdown.clone().cancelled_owned());
    tokio::select! {
        done = server.into_future() => done,
        () = async {
            shutdown.cancelled().await;
            tokio::time::sleep(grace).await;
        } => {
            tracing::warn!(grace.seconds = grace.as_secs(), "requests were still in flight at the end of the grace period");
            Ok(())
        }
    }
}
