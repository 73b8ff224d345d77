//! Starting where it cannot work, and stopping under load: one clear line, an exit code, nothing left running.

use std::{
    net::TcpListener,
    process::Command,
    time::{Duration, Instant},
};

use mesh_six_testing::{Reply, StubModel, TestDatabase};

use tokio::{
    io::{AsyncBufReadExt, BufReader},
    sync::watch,
};

use crate::mesh::{self, BINARY, Mesh, command, data_folder};

/// Far longer than anything here takes.
const LONG: Duration = Duration::from_mins(1);

/// A command that runs beside the test, and ends with it.
fn beside(command: Command) -> tokio::process::Child {
    tokio::process::Command::from(command).kill_on_drop(true).spawn().unwrap()
}

fn kill(signal: &str, pid: &str) {
    assert!(Command::new("kill").args([&format!("-{signal}"), pid]).status().unwrap().success());
}

/// Processes whose command line names `text`.
fn running(text: &str) -> String {
    let output = Command::new("pgrep").args(["-af", text]).output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

/// One line on stderr that contains `words`, and this exit code.
fn refused(output: &std::process::Output, code: i32, words: &[&str]) {
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{told}");
    assert_eq!(told.lines().count(), 1, "{told}");
    for word in words {
        assert!(told.contains(word), "{word:?} is missing: {told}");
    }
    assert!(output.stdout.is_empty());
}

#[test]
fn a_taken_port_is_told() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let (port, folder) = (taken.local_addr().unwrap().port().to_string(), data_folder());
    let data = folder.path().join("data").display().to_string();
    refused(&command(&["up", "--port", &port, "--data-dir", &data]).output().unwrap(), 1, &[&port, "--port"]);
    assert_eq!(running(&data), "");
}

#[test]
fn a_locked_data_folder_is_told() {
    let folder = data_folder();
    let data = folder.path().join("data").display().to_string();
    let mesh = Mesh::private(folder.path(), 0, &[]);
    let second = command(&["up", "--port", "0", "--data-dir", &data]).output().unwrap();
    refused(&second, 1, &[&data, "in use", "--data-dir"]);
    assert!(mesh.run(&["agents"]).status.success(), "the first one goes on");
}

#[test]
fn a_missing_postgresql_is_told() {
    let folder = data_folder();
    let data = folder.path().join("data").display().to_string();
    // In a mount namespace of its own, where the folders that hold PostgreSQL are empty.
    let script = "for d in /usr/lib/postgresql /usr/local/bin /usr/local/pgsql; do \
        [ -d $d ] && mount -t tmpfs none $d; done; PATH=/bin exec \"$0\" up --port 0 --data-dir \"$1\"";
    let output =
        Command::new("unshare").args(["-m", "sh", "-c", script, BINARY, &data]).env_remove("DATABASE_URL").output();
    refused(&output.unwrap(), 1, &["PostgreSQL 15 or newer was not found", "apt-get install"]);
    assert_eq!(running(&data), "");
}

#[test]
fn a_full_disk_is_told() {
    let folder = data_folder();
    let data = folder.path().join("data").display().to_string();
    let script =
        "mkdir \"$1\" && mount -t tmpfs -o size=8m,mode=711 none \"$1\" && exec \"$0\" up --port 0 --data-dir \"$1\"";
    let output =
        Command::new("unshare").args(["-m", "sh", "-c", script, BINARY, &data]).env_remove("DATABASE_URL").output();
    refused(&output.unwrap(), 1, &["disk is full"]);
    assert_eq!(running(&data), "");
}

#[test]
fn a_database_that_does_not_answer_is_told() {
    let port = crate::mesh::free_port();
    let url = format!("postgres://nobody:secret@127.0.0.1:{port}/x");
    let output = command(&["up", "--port", "0"]).env("DATABASE_URL", url).output().unwrap();
    refused(&output, 3, &["DATABASE_URL", &format!("127.0.0.1:{port}/x"), "refused"]);
    assert!(!String::from_utf8_lossy(&output.stderr).contains("secret"));
}

#[tokio::test(flavor = "multi_thread")]
async fn ctrl_c_under_load_drains_and_a_second_one_ends_at_once() {
    let model = StubModel::start().await;
    model.always(Reply::text("answer").after(Duration::from_millis(300)));
    let folder = data_folder();
    let data = folder.path().join("data").display().to_string();
    let args = ["--llm-url", model.url(), "--model", "stub"];
    let mut mesh = Mesh::private(folder.path(), 0, &args);
    for i in 0..10 {
        assert!(mesh.run(&["submit", &format!("q {i}"), "--no-wait"]).status.success());
    }
    mesh.signal("INT");
    assert_eq!(mesh.wait(Duration::from_mins(1)), Some(0));
    assert_eq!(running(&data), "", "PostgreSQL is stopped too");

    // What was in flight was finished, or goes on after the next start.
    let mut mesh = Mesh::private(folder.path(), 0, &args);
    let done = mesh_six_testing::wait_for(Duration::from_secs(90), async || {
        let tasks = mesh.json(&["tasks", "--json"]);
        tasks.iter().all(|t| t["status"] == "completed").then_some(tasks)
    });
    assert_eq!(done.await.len(), 10);

    model.always(Reply::Hang);
    assert!(mesh.run(&["submit", "never", "--no-wait"]).status.success());
    model.wait_for_calls(11, Duration::from_secs(30)).await;
    mesh.signal("INT");
    let begun = Instant::now();
    // The first signal is taken before the second is sent, or they would count as one.
    while mesh.run(&["submit", "x", "--no-wait"]).status.success() && begun.elapsed() < Duration::from_secs(10) {
        std::thread::yield_now();
    }
    mesh.signal("INT");
    assert_eq!(mesh.wait(Duration::from_secs(5)), Some(130));
    mesh_six_testing::wait_until(Duration::from_secs(30), async || running(&data).is_empty()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_private_database_that_is_gone_for_good_ends_it_as_a_failure() {
    let folder = data_folder();
    let data = folder.path().join("data");
    let shown = data.display().to_string();
    let mut up = beside(command(&["up", "--port", "0", "--data-dir", &shown]));
    let mut banner = BufReader::new(up.stdout.take().unwrap()).lines();
    let banner = tokio::time::timeout(LONG, banner.next_line()).await.unwrap().unwrap();
    assert!(banner.is_some_and(|line| line.contains("is up")));
    let postmaster = std::fs::read_to_string(data.join("postgres/postmaster.pid")).unwrap();
    std::fs::rename(data.join("postgres"), data.join("moved")).unwrap();
    kill("KILL", postmaster.lines().next().unwrap());
    let output = tokio::time::timeout(LONG, up.wait_with_output()).await.unwrap().unwrap();
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{told}");
    let errors: Vec<_> = told.lines().filter(|line| line.starts_with("error:")).collect();
    assert_eq!(errors.len(), 1, "{told}");
    assert!(errors[0].contains("the private PostgreSQL server ended and cannot be started again: "), "{told}");
    mesh_six_testing::wait_until(LONG, async || running(&shown).is_empty()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ctrl_c_before_the_services_are_ready_ends_it_without_a_banner() {
    let database = TestDatabase::new().await;
    // Without this table the orchestrator never becomes ready.
    database.client().await.batch_execute("ALTER TABLE outbox RENAME TO hidden").await.unwrap();
    let port = mesh::free_port().to_string();
    let mut command = command(&["up", "--port", &port]);
    command.env("DATABASE_URL", database.url());
    let up = beside(command);
    let (http, readyz) = (mesh::http(), format!("http://127.0.0.1:{port}/readyz"));
    mesh_six_testing::wait_until(LONG, async || http.get(&readyz).send().await.is_ok_and(|a| a.status() == 503)).await;
    kill("INT", &up.id().unwrap().to_string());
    // Shorter than the services may take to become ready.
    let ended = tokio::time::timeout(Duration::from_secs(20), up.wait_with_output());
    let output = ended.await.expect("it waited for its services").unwrap();
    assert_eq!((output.status.code(), String::from_utf8(output.stdout).unwrap()), (Some(0), String::new()));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_hears_the_answer_that_comes_while_it_drains() {
    let (model, folder) = (StubModel::start().await, data_folder());
    let (open, gate) = watch::channel(false);
    model.always(Reply::text("just in time").when(gate));
    let mut mesh = Mesh::private(folder.path(), 0, &["--llm-url", model.url(), "--model", "stub"]);
    let mut submit = command(&["submit", "why?"]);
    submit.env("MESH_SIX_URL", &mesh.url);
    let waits = beside(submit);
    model.wait_for_calls(1, LONG).await;
    mesh.signal("INT");
    let (http, readyz) = (mesh::http(), format!("{}/readyz", mesh.url));
    mesh_six_testing::wait_until(LONG, async || http.get(&readyz).send().await.is_ok_and(|a| a.status() == 503)).await;
    open.send_replace(true);
    let output = tokio::time::timeout(LONG, waits.wait_with_output()).await.unwrap().unwrap();
    let told = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{told}{}", String::from_utf8_lossy(&output.stderr));
    assert!(told.contains("just in time"), "{told}");
    assert_eq!(mesh.wait(LONG), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_stops_a_mesh_whose_database_is_not_its_own() {
    let database = TestDatabase::new().await;
    let mut mesh = Mesh::start(&[], &[("DATABASE_URL", database.url())]);
    mesh.signal("TERM");
    assert_eq!(mesh.wait(Duration::from_mins(1)), Some(0));
}
