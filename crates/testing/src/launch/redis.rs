//! Redis, as Debian packages it, with a configuration of its own.

use std::{fs, path::PathBuf, time::Duration};

use anyhow::{Context, Result, bail};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use super::{
    password::{secret, write_private},
    ports::server_port,
    process::Process,
};

const READY: Duration = Duration::from_mins(1);
const GRACE: Duration = Duration::from_secs(10);
const ANSWER: Duration = Duration::from_secs(5);

/// How to run Redis.
#[derive(Clone, Debug)]
pub struct RedisConfig {
    /// The folder that holds everything; made if missing.
    pub folder: PathBuf,
    /// The port on 127.0.0.1; a free one if `None`.
    pub port: Option<u16>,
}

impl RedisConfig {
    /// In this folder, on a free port.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into(), port: None }
    }
}

/// A Redis server that writes what it is told to its disk each second, as in the cluster.
#[derive(Debug)]
pub struct Redis {
    process: Process,
    port: u16,
    password: String,
}

impl Redis {
    /// A running server.
    pub async fn start(config: RedisConfig) -> Result<Self> {
        let RedisConfig { folder, port } = config;
        fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let port = port.map_or_else(server_port, Ok)?;
        let password = secret(&folder.join("password"))?;
        let file = folder.join("redis.conf");
        let dir = folder.display();
        write_private(
            &file,
            &format!(
                "bind 127.0.0.1\nport {port}\nrequirepass {password}\ndir \"{dir}\"\ndaemonize no\nsave \"\"\n\
                 appendonly yes\nappendfsync everysec\nset-proc-title no\n"
            ),
        )?;
        let mut process = Process::new("redis", "redis-server", folder.join("redis.log"), GRACE);
        process.command().arg(&file).current_dir(&folder);
        let mut redis = Self { process, port, password };
        redis.restart().await.context("Redis does not start (Debian package redis-server)")?;
        Ok(redis)
    }

    /// `host:port`.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Its port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// What clients must say first.
    pub fn password(&self) -> &str {
        &self.password
    }

    /// Its process.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// Starts it again after it was ended, on the same port, and waits until it answers.
    pub async fn restart(&mut self) -> Result<()> {
        self.process.start()?;
        let (port, password) = (self.port, self.password.clone());
        self.process.wait_ready(READY, async || ask(port, &password, "PING").await.is_ok()).await
    }

    /// Forgets everything.
    pub async fn flush(&self) -> Result<()> {
        ask(self.port, &self.password, "FLUSHALL").await.map(drop)
    }

    /// How many keys it holds.
    pub async fn keys(&self) -> Result<u64> {
        let answer = ask(self.port, &self.password, "DBSIZE").await?;
        answer.trim_start_matches(':').parse().with_context(|| format!("Redis counted {answer:?} keys"))
    }
}

/// The one line that it answers to a command without arguments.
async fn ask(port: u16, password: &str, command: &str) -> Result<String> {
    let talk = async {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
        stream.write_all(format!("AUTH {password}\r\n{command}\r\nQUIT\r\n").as_bytes()).await?;
        let mut text = String::new();
        stream.read_to_string(&mut text).await?;
        Ok::<_, std::io::Error>(text)
    };
    let text = timeout(ANSWER, talk).await.context("Redis does not answer")??;
    let lines: Vec<&str> = text.lines().collect();
    match lines[..] {
        ["+OK", answer, "+OK"] if !answer.starts_with('-') => Ok(answer.to_owned()),
        _ => bail!("Redis answered {lines:?}"),
    }
}
