//! PostgreSQL in a container, where a Docker engine answers.

use std::{
    env,
    io::{Read, Write},
    net::TcpStream,
    os::unix::{net::UnixStream, process::CommandExt},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use testcontainers::{GenericImage, ImageExt, core::IntoContainerPort, runners::AsyncRunner};

use crate::template::connect;

const DEFAULT_IMAGE: &str = "pgvector/pgvector:pg16";
const DEFAULT_SOCKET: &str = "/var/run/docker.sock";
const PING: Duration = Duration::from_secs(2);
const POLL: Duration = Duration::from_millis(50);
const READY: Duration = Duration::from_mins(1);
/// Reachable from this machine only as long as the test runs.
const PASSWORD: &str = "mesh-six-test";

/// Removes the container ($1) when our end of the shell's standard input closes, that is when the tests end in
/// whatever way.
const WATCH: &str = r#"
read -r _
docker rm --force --volumes "$1" ||
    curl --silent --unix-socket "$2" -X DELETE "http://localhost/containers/$1?force=1&v=1"
"#;

/// The image that the tests use.
pub(crate) fn image() -> String {
    env::var("MESH_SIX_TEST_IMAGE").unwrap_or_else(|_| DEFAULT_IMAGE.to_owned())
}

/// Whether a Docker engine answers a ping.
pub(crate) fn engine_answers() -> bool {
    let host = env::var("DOCKER_HOST").unwrap_or_default();
    if let Some(address) = host.strip_prefix("tcp://") {
        return TcpStream::connect(address)
            .and_then(|stream| stream.set_read_timeout(Some(PING)).map(|()| stream))
            .is_ok_and(ping);
    }
    UnixStream::connect(socket())
        .and_then(|stream| stream.set_read_timeout(Some(PING)).map(|()| stream))
        .is_ok_and(ping)
}

fn socket() -> String {
    let host = env::var("DOCKER_HOST").unwrap_or_default();
    host.strip_prefix("unix://").unwrap_or(DEFAULT_SOCKET).to_owned()
}

fn ping(mut stream: impl Read + Write) -> bool {
    let mut answer = [0; 12];
    stream.write_all(b"GET /_ping HTTP/1.0\r\nHost: docker\r\n\r\n").is_ok()
        && stream.read_exact(&mut answer).is_ok()
        && answer.ends_with(b" 200")
}

/// Starts PostgreSQL in a container and gives the owner's URL on its maintenance database. The container is removed
/// when this process ends.
pub async fn start() -> Result<String> {
    let image = image();
    let (name, tag) = split_tag(&image);
    let container = GenericImage::new(name, tag)
        .with_exposed_port(5432.tcp())
        .with_env_var("POSTGRES_PASSWORD", PASSWORD)
        .with_cmd(["postgres", "-c", "max_connections=300", "-c", "fsync=off"])
        .with_startup_timeout(READY)
        .start()
        .await
        .with_context(|| format!("cannot start a container of {image}"))?;
    watch(container.id())?;
    let host = container.get_host().await?;
    let port = container.get_host_port_ipv4(5432.tcp()).await?;
    let url = format!("postgres://postgres:{PASSWORD}@{host}:{port}/postgres");
    let deadline = Instant::now() + READY;
    while !matches!(tokio::time::timeout(PING, connect(&url)).await, Ok(Ok(_))) {
        if !container.is_running().await? || Instant::now() > deadline {
            let log = container.stderr_to_vec().await.unwrap_or_default();
            let log = String::from_utf8_lossy(&log);
            let last: Vec<&str> = log.lines().rev().take(3).collect();
            bail!("PostgreSQL does not answer in a container of {image}; its last lines: {}", last.join(" / "));
        }
        tokio::time::sleep(POLL).await;
    }
    // Removed by the watcher; dropping it here would remove it now.
    std::mem::forget(container);
    Ok(url)
}

fn watch(container: &str) -> Result<()> {
    let watcher = Command::new("sh")
        .args(["-c", WATCH, "sh", container, &socket()])
        .process_group(0)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .context("cannot start sh")?;
    // Its standard input stays open until this process ends.
    std::mem::forget(watcher);
    Ok(())
}

/// `host:5000/name:tag` gives `host:5000/name` and `tag`; without a tag it is `latest`.
fn split_tag(image: &str) -> (&str, &str) {
    match image.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => (name, tag),
        _ => (image, "latest"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_is_told_from_a_port() {
        assert_eq!(split_tag("pgvector/pgvector:pg16"), ("pgvector/pgvector", "pg16"));
        assert_eq!(split_tag("host:5000/name"), ("host:5000/name", "latest"));
    }
}
