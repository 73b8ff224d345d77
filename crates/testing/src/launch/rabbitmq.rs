//! RabbitMQ, as Debian packages it, with a configuration and an Erlang port mapper of its own.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

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

/// The server's own script; the one on the PATH insists on another user and on the system's folders.
const SCRIPTS: [&str; 2] = ["/usr/lib/rabbitmq/bin/rabbitmq-server", "/opt/rabbitmq/sbin/rabbitmq-server"];
const USER: &str = "mesh-six";
const READY: Duration = Duration::from_mins(2);
const GRACE: Duration = Duration::from_secs(30);
const ANSWER: Duration = Duration::from_secs(2);
/// How a client begins; the server's answer shows that it listens and has not hung.
const GREETING: &[u8] = b"AMQP\0\0\x09\x01";

/// How to run RabbitMQ.
#[derive(Clone, Debug)]
pub struct RabbitMqConfig {
    /// The folder that holds everything; made if missing.
    pub folder: PathBuf,
    /// The port on 127.0.0.1; a free one if `None`.
    pub port: Option<u16>,
    /// Lines for `rabbitmq.conf`, such as `("consumer_timeout", "60000")`.
    pub settings: Vec<(String, String)>,
    /// Plugins that come with it, such as `rabbitmq_mqtt`.
    pub plugins: Vec<String>,
}

impl RabbitMqConfig {
    /// In this folder, on a free port, without plugins.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into(), port: None, settings: Vec::new(), plugins: Vec::new() }
    }
}

/// A broker of its own.
#[derive(Debug)]
pub struct RabbitMq {
    // Ended first.
    server: Process,
    epmd: Process,
    port: u16,
    password: String,
}

impl RabbitMq {
    /// A running broker.
    pub async fn start(config: RabbitMqConfig) -> Result<Self> {
        let folder = &config.folder;
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let port = config.port.map_or_else(server_port, Ok)?;
        let password = secret(&folder.join("password"))?;
        configure(&config, port, &password)?;
        let epmd_port = server_port()?.to_string();
        // Started by us, since the broker would start one that outlives it.
        let mut epmd = Process::new("epmd", "epmd", folder.join("epmd.log"), GRACE);
        epmd.command().args(["-address", "127.0.0.1", "-port", &epmd_port]);
        let mut server = Process::new("rabbitmq", script()?, folder.join("rabbitmq.log"), GRACE);
        let command = server.command();
        command.current_dir(folder).envs([
            ("RABBITMQ_NODENAME", "mesh-six@localhost"),
            ("RABBITMQ_NODE_IP_ADDRESS", "127.0.0.1"),
            ("RABBITMQ_NODE_PORT", &port.to_string()),
            ("RABBITMQ_DIST_PORT", &server_port()?.to_string()),
            ("RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS", "-kernel inet_dist_use_interface {127,0,0,1}"),
            ("RABBITMQ_CONF_ENV_FILE", "/dev/null"),
            ("ERL_EPMD_ADDRESS", "127.0.0.1"),
            ("ERL_EPMD_PORT", &epmd_port),
            ("ERL_CRASH_DUMP_BYTES", "0"),
            // The script becomes the server instead of waiting for it.
            ("detached", "1"),
        ]);
        for (name, below) in [
            ("HOME", ""),
            ("RABBITMQ_MNESIA_BASE", "data"),
            ("RABBITMQ_LOG_BASE", "log"),
            ("RABBITMQ_PID_FILE", "pid"),
            ("RABBITMQ_ENABLED_PLUGINS_FILE", "enabled_plugins"),
            ("RABBITMQ_CONFIG_FILE", "rabbitmq.conf"),
        ] {
            command.env(name, folder.join(below));
        }
        let mut broker = Self { server, epmd, port, password };
        broker.restart().await.context("RabbitMQ does not start (Debian package rabbitmq-server)")?;
        Ok(broker)
    }

    /// `amqp://user:password@host:port`.
    pub fn url(&self) -> String {
        self.url_at(&format!("127.0.0.1:{}", self.port))
    }

    /// The same broker behind another address.
    pub fn url_at(&self, address: &str) -> String {
        format!("amqp://{USER}:{}@{address}", self.password)
    }

    /// Its port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its process; the port mapper goes on when it is ended.
    pub fn process(&mut self) -> &mut Process {
        &mut self.server
    }

    /// The port mapper's process id.
    pub fn epmd_pid(&self) -> Option<u32> {
        self.epmd.pid()
    }

    /// Starts it again after it was ended, on the same port, and waits until it answers.
    pub async fn restart(&mut self) -> Result<()> {
        self.epmd.start()?;
        self.server.start()?;
        let port = self.port;
        self.server.wait_ready(READY, async || greets(port).await.unwrap_or(false)).await
    }
}

fn script() -> Result<&'static str> {
    let found = SCRIPTS.iter().find(|script| Path::new(script).is_file());
    let Some(script) = found else { bail!("there is no RabbitMQ on this machine: install rabbitmq-server") };
    Ok(script)
}

fn configure(config: &RabbitMqConfig, port: u16, password: &str) -> Result<()> {
    let mut lines = vec![
        format!("listeners.tcp.1 = 127.0.0.1:{port}"),
        format!("default_user = {USER}"),
        format!("default_pass = {password}"),
        "log.file = false".to_owned(),
        "log.console = true".to_owned(),
        "log.console.use_colors = off".to_owned(),
    ];
    lines.extend(config.settings.iter().map(|(name, value)| format!("{name} = {value}")));
    write_private(&config.folder.join("rabbitmq.conf"), &(lines.join("\n") + "\n"))?;
    write_private(&config.folder.join("enabled_plugins"), &format!("[{}].\n", config.plugins.join(",")))
}

async fn greets(port: u16) -> Result<bool> {
    let greeted = timeout(ANSWER, async {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
        stream.write_all(GREETING).await?;
        let mut frame = [0; 1];
        stream.read_exact(&mut frame).await?;
        // A method frame: it offers to begin.
        Ok::<_, std::io::Error>(frame == [1])
    });
    Ok(greeted.await??)
}
