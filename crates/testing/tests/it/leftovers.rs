//! Nothing stays behind a process that is killed; what does is taken care of at the next start.

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use mesh_six_db::server::{PostgresServer, ServerConfig};
use mesh_six_testing::{temporary_folder, wait_until};

const SOON: Duration = Duration::from_secs(20);

/// The helper that runs one server, and the URL that it printed.
fn run_helper(temporary: &Path) -> (Child, String) {
    let mut helper = Command::new(env!("CARGO_BIN_EXE_test-postgres"))
        .env("TMPDIR", temporary)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut url = String::new();
    BufReader::new(helper.stdout.as_mut().unwrap()).read_line(&mut url).unwrap();
    (helper, url.trim().to_owned())
}

async fn answers(url: &str) -> bool {
    tokio_postgres::connect(url, tokio_postgres::NoTls).await.is_ok()
}

fn is_empty(folder: &Path) -> bool {
    folder.read_dir().unwrap().next().is_none()
}

#[tokio::test]
async fn nothing_is_left_when_the_process_ends_or_is_killed() {
    for kill in [false, true] {
        let temporary = temporary_folder().unwrap();
        let (mut helper, url) = run_helper(temporary.path());
        assert!(answers(&url).await, "{url}");
        if kill {
            helper.kill().unwrap();
        } else {
            drop(helper.stdin.take());
        }
        helper.wait().unwrap();
        wait_until(SOON, async || is_empty(temporary.path()) && !answers(&url).await).await;
    }
}

#[tokio::test]
async fn a_server_that_was_left_running_is_ended_first() {
    let parent = temporary_folder().unwrap();
    let folder = parent.path().join("data");
    let server = PostgresServer::start(ServerConfig::new(&folder)).await.unwrap();
    let pid = server.pid().unwrap();
    // As if we and the watcher had been killed: the server runs on, and nobody holds the lock.
    std::mem::forget(server);
    std::fs::remove_file(folder.join("lock")).unwrap();

    let next = PostgresServer::start(ServerConfig::new(&folder)).await.unwrap();
    assert!(next.ended_leftover());
    assert_ne!(next.pid().unwrap(), pid);
}
