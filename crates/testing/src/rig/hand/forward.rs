//! From this machine's loopback device into the rig's namespace: a listener here, a connection there, and between them a
//! socket file, which both sides see.

use std::{
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional},
    net::{TcpListener, TcpStream, UnixListener, UnixStream},
    time::{sleep, timeout},
};

const GREETING: Duration = Duration::from_secs(5);
/// After an `accept` that failed, for lack of file descriptors most likely.
const PAUSE: Duration = Duration::from_millis(50);

/// Within the namespace: connects whoever comes through the socket to the port that they name.
pub(super) fn serve(socket: &Path) -> Result<()> {
    let listener = UnixListener::bind(socket).with_context(|| format!("cannot listen on {}", socket.display()))?;
    tokio::spawn(async move {
        loop {
            match listener.accept().await {
                Ok((stream, _)) => drop(tokio::spawn(connect(stream))),
                Err(_) => sleep(PAUSE).await,
            }
        }
    });
    Ok(())
}

async fn connect(mut outside: UnixStream) -> io::Result<()> {
    let port = timeout(GREETING, outside.read_u16()).await??;
    let mut inside = TcpStream::connect(("127.0.0.1", port)).await?;
    inside.set_nodelay(true)?;
    copy_bidirectional(&mut outside, &mut inside).await.map(drop)
}

/// A port on this machine, which is bound before anything else is started.
pub(super) async fn bind(port: u16, what: &str) -> Result<TcpListener> {
    let bound = TcpListener::bind(("127.0.0.1", port)).await;
    bound.with_context(|| format!("port {port}, for {what}, is not free; choose others with --port"))
}

/// Outside: brings whoever comes to `listener` to `port` in the namespace.
pub(super) fn forward(listener: TcpListener, socket: PathBuf, port: u16) {
    tokio::spawn(async move {
        loop {
            match listener.accept().await {
                Ok((stream, _)) => drop(tokio::spawn(bring(stream, socket.clone(), port))),
                Err(_) => sleep(PAUSE).await,
            }
        }
    });
}

async fn bring(mut client: TcpStream, socket: PathBuf, port: u16) -> io::Result<()> {
    client.set_nodelay(true)?;
    let mut door = UnixStream::connect(socket).await?;
    door.write_u16(port).await?;
    copy_bidirectional(&mut client, &mut door).await.map(drop)
}
