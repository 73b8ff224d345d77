//! Signals are sent to a process of their own: this test binary, which then runs only `child`.

use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use mesh_six_runtime::{shutdown::EXIT_INTERRUPTED, shutdown_signal};
use rustix::process::{Pid, Signal, kill_process};

const ROLE: &str = "MESH_SIX_TEST_SIGNALS";

/// Not a test of its own: what the other one starts. It prints what happens and then hangs.
#[tokio::test]
async fn child() {
    if std::env::var_os(ROLE).is_none() {
        return;
    }
    let token = shutdown_signal();
    println!("\nwaiting");
    token.cancelled().await;
    println!("\ncancelled");
    std::future::pending::<()>().await;
}

#[test]
fn the_first_signal_cancels_and_the_second_ends_with_130() {
    for signals in [[Signal::TERM, Signal::INT], [Signal::INT, Signal::TERM]] {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "signals::child", "--nocapture"])
            .env(ROLE, "1")
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        for (signal, line) in signals.into_iter().zip(["waiting", "cancelled"]) {
            assert!(lines.any(|l| l == line), "the child never said {line}");
            kill_process(Pid::from_child(&child), signal).unwrap();
        }
        assert_eq!(wait(&mut child), Some(EXIT_INTERRUPTED));
    }
}

fn wait(child: &mut Child) -> Option<i32> {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status.code();
        }
        if Instant::now() > deadline {
            child.kill().unwrap();
            panic!("the child did not end");
        }
        std::thread::yield_now();
    }
}
