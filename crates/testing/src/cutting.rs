//! A TCP proxy that cuts connections in the middle of what they carry.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::url;

/// Bytes after which a connection is cut, from where to where: enough for a login to get through now and then.
const SENT: std::ops::Range<usize> = 3_000..150_000;
/// The same for what the server says, which is less.
const ANSWERED: std::ops::Range<usize> = 1_500..12_000;

/// Stands before a PostgreSQL server. While it cuts, each new connection is given so many bytes, in one of the two
/// directions, and ends in their middle, whatever they are. Ends when it is dropped.
pub struct CuttingProxy {
    address: SocketAddr,
    cuts: Arc<AtomicUsize>,
    cutting: Arc<AtomicBool>,
    _end: DropGuard,
}

impl CuttingProxy {
    /// A proxy before the server of `url`. The same `seed` chooses the same cuts.
    pub async fn start(url: &str, seed: u64) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await;
        let listener = listener.unwrap_or_else(|error| panic!("no port for the proxy: {error}"));
        let address = listener.local_addr().unwrap_or_else(|error| panic!("no address: {error}"));
        let (cuts, cutting) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(true)));
        let end = CancellationToken::new();
        let shared = Shared { server: url::host(url).to_owned(), cuts: cuts.clone(), cutting: cutting.clone() };
        let accepting = accept(listener, shared, fastrand::Rng::with_seed(seed), end.clone());
        tokio::spawn(end.clone().run_until_cancelled_owned(accepting));
        Self { address, cuts, cutting, _end: end.drop_guard() }
    }

    /// `url`, led through the proxy.
    pub fn url(&self, url: &str) -> String {
        url::with_host(url, &self.address.to_string())
    }

    /// Connections that were cut so far.
    pub fn cuts(&self) -> usize {
        self.cuts.load(Ordering::Relaxed)
    }

    /// Lets everything through from now on, open connections too.
    pub fn let_through(&self) {
        self.cutting.store(false, Ordering::Relaxed);
    }
}

#[derive(Clone)]
struct Shared {
    server: String,
    cuts: Arc<AtomicUsize>,
    cutting: Arc<AtomicBool>,
}

async fn accept(listener: TcpListener, shared: Shared, mut random: fastrand::Rng, end: CancellationToken) {
    while let Ok((client, _)) = listener.accept().await {
        let bounds =
            if random.bool() { (random.usize(SENT), usize::MAX) } else { (usize::MAX, random.usize(ANSWERED)) };
        let carrying = carry(client, shared.clone(), bounds);
        tokio::spawn(end.clone().run_until_cancelled_owned(carrying));
    }
}

/// Both directions, until one ends or is cut; then both sockets are closed.
async fn carry(client: TcpStream, shared: Shared, (sent, answered): (usize, usize)) {
    let Ok(server) = TcpStream::connect(&shared.server).await else { return };
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    tokio::select! {
        () = pass(from_client, to_server, sent, &shared) => {}
        () = pass(from_server, to_client, answered, &shared) => {}
    }
}

async fn pass(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin, mut left: usize, shared: &Shared) {
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let Ok(read @ 1..) = from.read(&mut buffer).await else { return };
        let cut = read > left && shared.cutting.load(Ordering::Relaxed);
        let passed = if cut { left } else { read };
        if to.write_all(&buffer[..passed]).await.is_err() {
            return;
        }
        if cut {
            shared.cuts.fetch_add(1, Ordering::Relaxed);
            return;
        }
        left = left.saturating_sub(read);
    }
}
