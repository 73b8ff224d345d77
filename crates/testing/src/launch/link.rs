//! A TCP proxy on the way from a client to a server, which can be cut and healed.

use std::net::SocketAddr;

use anyhow::{Context, Result};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
};
use tokio_util::sync::{CancellationToken, DropGuard};

const BUFFER: usize = 64 * 1024;

/// How a link is at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// Everything goes through.
    Through,
    /// Nothing arrives and nobody is told, as where packets are lost. What was on its way arrives once it is healed.
    Silent,
    /// Connections are closed and new ones do not hold, as where nobody listens.
    Closed,
}

/// A way to a server. Ends when it is dropped.
#[derive(Debug)]
pub struct Link {
    address: SocketAddr,
    flow: watch::Sender<Flow>,
    _end: DropGuard,
}

impl Link {
    /// A way to `server` (`host:port`), through a port of its own.
    pub async fn start(server: impl Into<String>) -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.context("no port for a link")?;
        let address = listener.local_addr()?;
        let (flow, seen) = watch::channel(Flow::Through);
        let end = CancellationToken::new();
        tokio::spawn(end.clone().run_until_cancelled_owned(accept(listener, server.into(), seen, end.clone())));
        Ok(Self { address, flow, _end: end.drop_guard() })
    }

    /// `host:port` for the client.
    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// The port for the client, on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Cuts or heals it, for connections that there are and that will come.
    pub fn set(&self, flow: Flow) {
        self.flow.send_replace(flow);
    }
}

async fn accept(listener: TcpListener, server: String, flow: watch::Receiver<Flow>, end: CancellationToken) {
    loop {
        let Ok((client, _)) = listener.accept().await else {
            // Out of file descriptors, most likely: others will end.
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            continue;
        };
        tokio::spawn(end.clone().run_until_cancelled_owned(carry(client, server.clone(), flow.clone())));
    }
}

/// Both directions, until both have ended or the link is closed.
async fn carry(client: TcpStream, server: String, mut flow: watch::Receiver<Flow>) {
    let mut closed = flow.clone();
    let carrying = async {
        through(&mut flow).await;
        let Ok(server) = TcpStream::connect(&server).await else { return };
        let _ = (client.set_nodelay(true), server.set_nodelay(true));
        let (from_client, to_client) = client.into_split();
        let (from_server, to_server) = server.into_split();
        tokio::join!(pass(from_client, to_server, flow.clone()), pass(from_server, to_client, flow));
    };
    tokio::select! {
        () = carrying => {}
        _ = closed.wait_for(|flow| *flow == Flow::Closed) => {}
    }
}

async fn pass(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin, mut flow: watch::Receiver<Flow>) {
    let mut buffer = vec![0; BUFFER];
    while let Ok(read @ 1..) = from.read(&mut buffer).await {
        through(&mut flow).await;
        if to.write_all(&buffer[..read]).await.is_err() {
            return;
        }
    }
    through(&mut flow).await;
    let _ = to.shutdown().await;
}

/// Waits while nothing goes through.
async fn through(flow: &mut watch::Receiver<Flow>) {
    // The sender is gone when the link is, and then this task is cancelled.
    let _ = flow.wait_for(|flow| *flow != Flow::Silent).await;
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may panic")]

    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    /// Answers each byte with the same byte.
    async fn echo() -> String {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (mut from, mut to) = stream.into_split();
                tokio::spawn(async move { tokio::io::copy(&mut from, &mut to).await });
            }
        });
        address
    }

    async fn ask(stream: &mut TcpStream, byte: u8) -> std::io::Result<u8> {
        stream.write_all(&[byte]).await?;
        stream.read_u8().await
    }

    #[tokio::test]
    async fn a_silent_link_keeps_what_is_on_its_way_and_a_closed_one_ends_it() {
        let link = Link::start(echo().await).await.unwrap();
        let mut stream = TcpStream::connect(link.address()).await.unwrap();
        assert_eq!(ask(&mut stream, 1).await.unwrap(), 1);
        link.set(Flow::Silent);
        assert!(timeout(Duration::from_millis(50), ask(&mut stream, 2)).await.is_err());
        link.set(Flow::Through);
        assert_eq!(stream.read_u8().await.unwrap(), 2);
        assert_eq!(ask(&mut stream, 3).await.unwrap(), 3);
        link.set(Flow::Closed);
        assert!(stream.read_u8().await.is_err());
        let mut refused = TcpStream::connect(link.address()).await.unwrap();
        assert!(ask(&mut refused, 4).await.is_err());
        link.set(Flow::Through);
        let mut again = TcpStream::connect(link.address()).await.unwrap();
        assert_eq!(ask(&mut again, 5).await.unwrap(), 5);
    }

    #[tokio::test]
    async fn the_end_of_either_side_reaches_the_other() {
        let link = Link::start(echo().await).await.unwrap();
        let mut stream = TcpStream::connect(link.address()).await.unwrap();
        stream.write_all(b"last words").await.unwrap();
        stream.shutdown().await.unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).await.unwrap();
        assert_eq!(text, "last words");
    }
}
