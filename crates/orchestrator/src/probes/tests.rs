//! Which checks are asked, and how many.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should fail there")]

use std::{
    net::SocketAddr,
    sync::atomic::{AtomicUsize, Ordering::SeqCst},
};

use axum::Router;
use mesh_six_testing::wait_until;
use tokio::net::TcpListener;

use super::*;

const SOON: Duration = Duration::from_secs(20);

#[test]
fn only_listed_hosts_are_probed() {
    let config = OrchestratorConfig { probe_hosts: vec!["argocd-server".to_owned()], ..Default::default() };
    let probes = Probes::new(&config);
    for (url, allowed) in [
        ("http://argocd-server/healthz", true),
        ("https://simple-agent:3000/x", true),
        ("http://grafana.mesh-six/api/health", true),
        ("http://x.mesh-six.svc.cluster.local", true),
        ("http://.mesh-six/", false),
        ("http://mesh-six.example.org/", false),
        ("http://169.254.169.254/latest/meta-data", false),
        ("http://127.0.0.1:9000/", false),
        ("http://user:pw@argocd-server/", false),
        ("file:///etc/passwd", false),
        ("gopher://argocd-server/", false),
        ("not a url", false),
    ] {
        assert_eq!(probes.allowed("simple-agent", url).is_some(), allowed, "{url}");
    }
    let local = Probes::new(&OrchestratorConfig { probe_loopback: true, ..Default::default() });
    for url in ["http://127.0.0.1:9000/", "http://localhost/", "http://[::1]:80/"] {
        assert!(local.allowed("a", url).is_some(), "{url}");
    }
    assert!(local.allowed("a", "http://10.0.0.1/").is_none());
}

/// A server that counts its callers and lets them go as its gate says.
#[derive(Clone)]
struct Gated {
    /// Came, are there, were there at once at most.
    callers: Arc<[AtomicUsize; 3]>,
    gate: Arc<Semaphore>,
    address: SocketAddr,
}

impl Gated {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let gated = Self {
            callers: Arc::default(),
            gate: Arc::new(Semaphore::new(0)),
            address: listener.local_addr().unwrap(),
        };
        let served = gated.clone();
        let router = Router::new().fallback(async move || served.serve().await);
        tokio::spawn(async move { axum::serve(listener, router).await });
        gated
    }

    async fn serve(&self) {
        let [came, there, most] = &*self.callers;
        most.fetch_max(there.fetch_add(1, SeqCst) + 1, SeqCst);
        came.fetch_add(1, SeqCst);
        self.gate.acquire().await.unwrap().forget();
        there.fetch_sub(1, SeqCst);
    }

    fn came(&self) -> usize {
        self.callers[0].load(SeqCst)
    }

    fn most(&self) -> usize {
        self.callers[2].load(SeqCst)
    }

    /// Asks this many different checks, all at the same time; how many are well.
    async fn ask(&self, probes: &Probes, checks: usize) -> usize {
        let asked = (0..checks).map(|n| probes.probe(format!("http://{}/{n}", self.address).parse().unwrap()));
        join_all(asked).await.into_iter().filter(|well| *well).count()
    }
}

fn patient() -> OrchestratorConfig {
    let minute = Duration::from_mins(1);
    OrchestratorConfig { probe_timeout: minute, probe_cache: minute, ..Default::default() }
}

#[tokio::test]
async fn no_more_checks_are_asked_at_once_than_there_are_turns() {
    let (server, probes) = (Gated::start().await, Probes::new(&patient()));
    let let_go = async {
        for n in 0..AT_ONCE {
            wait_until(SOON, async || server.came() == AT_ONCE + n).await;
            server.gate.add_permits(1);
        }
        server.gate.add_permits(AT_ONCE);
    };
    let (well, ()) = tokio::join!(server.ask(&probes, 2 * AT_ONCE), let_go);
    assert_eq!((well, server.most()), (2 * AT_ONCE, AT_ONCE));
}

#[tokio::test]
async fn a_check_whose_turn_does_not_come_in_time_counts_as_unhealthy() {
    let config = OrchestratorConfig { probe_timeout: Duration::from_millis(200), ..patient() };
    let (server, probes) = (Gated::start().await, Probes::new(&config));
    let well = tokio::time::timeout(SOON, server.ask(&probes, 4 * AT_ONCE)).await.unwrap();
    assert_eq!(well, 0);
}

#[tokio::test]
async fn checks_beyond_those_that_are_remembered_are_not_asked_at_all() {
    let (server, probes) = (Gated::start().await, Probes::new(&patient()));
    server.gate.add_permits(10 * MAX_KEPT);
    for _ in 0..3 {
        assert_eq!(server.ask(&probes, MAX_KEPT + 50).await, MAX_KEPT);
    }
    assert_eq!(server.came(), MAX_KEPT, "each once, however many tasks come");
}
