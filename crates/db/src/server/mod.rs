//! A private PostgreSQL server: found on this machine, set up in a folder of its own, started and stopped with us.
//!
//! It listens on 127.0.0.1 only, where every user of the machine can knock, so both logins need a password (SCRAM)
//! that is made up once and kept in the folder with mode 0600. There is no socket file. As root, the server runs as
//! the user `postgres`. If we die in whatever way, a small shell that waits on a pipe ends the server.

mod account;
mod binaries;
mod error;
mod folder;
mod process;

use std::{
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use tokio_postgres::{Client, NoTls};

use self::{account::Account, folder::Folder, process::Postmaster};
pub use self::{account::default_data_dir, binaries::Binaries, error::ServerError};

/// How long a server may take until it answers, recovery after a crash included.
const READY: Duration = Duration::from_mins(2);
/// How long one attempt to connect may take.
const ANSWER: Duration = Duration::from_secs(5);
const POLL: Duration = Duration::from_millis(20);
/// The database of the mesh.
const DATABASE: &str = "mesh_six";
/// The login of the running services, without rights to change the schema or the log.
const APP_LOGIN: &str = "mesh_six";

/// How to run a private server.
#[derive(Debug, Clone)]
pub struct ServerConfig {
    /// The folder that holds everything; made if missing, with only its last part closed to others.
    pub data_dir: PathBuf,
    /// The port on 127.0.0.1; a free one if `None`.
    pub port: Option<u16>,
    /// PostgreSQL settings, over our own defaults.
    pub settings: Vec<(String, String)>,
    /// The data is not needed afterwards (tests): nothing is synced at set-up, the server ends without a final
    /// checkpoint, and if we are killed the whole folder is removed.
    pub throwaway: bool,
}

impl ServerConfig {
    /// A durable server in this folder, on a free port.
    pub fn new(data_dir: impl Into<PathBuf>) -> Self {
        Self { data_dir: data_dir.into(), port: None, settings: Vec::new(), throwaway: false }
    }
}

/// A private server. Dropping it ends the server too, but blocks while it does; prefer [`PostgresServer::stop`].
#[derive(Debug)]
pub struct PostgresServer {
    postmaster: Option<Postmaster>,
    folder: Folder,
    binaries: Binaries,
    config: ServerConfig,
    port: u16,
    password: String,
    ended_leftover: bool,
}

impl PostgresServer {
    /// Finds PostgreSQL, sets the folder up if it is new, ends what an earlier run left there, starts the server and
    /// waits until it answers and has the mesh's database.
    pub async fn start(config: ServerConfig) -> Result<Self, ServerError> {
        // A missing installation explains a missing user, so it is told first.
        Binaries::find(None)?;
        let folder = Folder::open(&config.data_dir, account::other_user()?)?;
        let binaries = match folder.made_by() {
            None => Binaries::find(None)?,
            Some(major) => Binaries::find(Some(major))
                .map_err(|_| ServerError::VersionMissing { folder: folder.path().to_owned(), major })?,
        };
        folder.initialise(&binaries, !config.throwaway).await?;
        let ended_leftover = process::end_leftover(&folder.cluster()).await?;
        let password = folder.password("password")?;
        let mut server = Self { postmaster: None, folder, binaries, config, port: 0, password, ended_leftover };
        server.launch(server.config.port).await?;
        server.create_database().await?;
        Ok(server)
    }

    /// Starts the server again after [`Self::stop`] or [`Self::kill_nine`], on the same port.
    pub async fn restart(&mut self) -> Result<(), ServerError> {
        self.stop().await;
        self.launch(Some(self.port)).await
    }

    /// Fast shutdown: connections are cut, everything is written; after 30 s at once. Does nothing if it is stopped.
    pub async fn stop(&mut self) {
        if let Some(mut postmaster) = self.postmaster.take() {
            postmaster.stop().await;
        }
    }

    /// Kills the server and all its processes, as a power cut would. For tests of recovery.
    pub fn kill_nine(&mut self) {
        if let Some(mut postmaster) = self.postmaster.take() {
            postmaster.kill_nine();
        }
    }

    /// URL of the mesh's database for the owner, who may do anything: migrations and upkeep.
    pub fn url(&self) -> String {
        self.url_of(DATABASE)
    }

    /// URL of another database of this server for the owner.
    pub fn url_of(&self, database: &str) -> String {
        format!("postgres://postgres:{}@127.0.0.1:{}/{database}", self.password, self.port)
    }

    /// Makes the login of the running services, a member of the role `mesh_six_app` that the migrations made, and
    /// gives its URL. Safe to call at every start.
    pub async fn create_app_login(&self) -> Result<String, ServerError> {
        let password = self.folder.password("app-password")?;
        let client = self.connect(DATABASE).await?;
        let known = client.query_opt("SELECT FROM pg_roles WHERE rolname = $1", &[&APP_LOGIN]).await?.is_some();
        let verb = if known { "ALTER" } else { "CREATE" };
        // The statement holds a password: it stays out of the server's log even if it fails.
        client
            .batch_execute(&format!(
                "SET log_min_error_statement = 'panic';
                 {verb} ROLE {APP_LOGIN} LOGIN PASSWORD '{password}';
                 GRANT mesh_six_app TO {APP_LOGIN}"
            ))
            .await?;
        Ok(format!("postgres://{APP_LOGIN}:{password}@127.0.0.1:{}/{DATABASE}", self.port))
    }

    /// The port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The server's process id while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.postmaster.as_ref().map(Postmaster::id)
    }

    /// Whether it has ended without being told to.
    pub fn has_ended(&mut self) -> bool {
        self.postmaster.as_mut().is_none_or(Postmaster::has_ended)
    }

    /// The owner's URL of a server that another process runs in `data_dir`; `None` if none answers there.
    pub fn running_url(data_dir: &Path) -> Option<String> {
        let password = std::fs::read_to_string(data_dir.join("password")).ok()?;
        // The fourth line of postmaster.pid is the port.
        let state = std::fs::read_to_string(data_dir.join("postgres/postmaster.pid")).ok()?;
        let port: u16 = state.lines().nth(3)?.trim().parse().ok()?;
        let address = std::net::SocketAddr::from(([127, 0, 0, 1], port));
        std::net::TcpStream::connect_timeout(&address, ANSWER).ok()?;
        Some(format!("postgres://postgres:{}@127.0.0.1:{port}/{DATABASE}", password.trim()))
    }

    /// Its version, such as `15.18`.
    pub fn version(&self) -> &str {
        &self.binaries.version
    }

    /// The folder that holds everything.
    pub fn data_dir(&self) -> &Path {
        self.folder.path()
    }

    /// Whether a server of an earlier run, which was killed, had to be ended first.
    pub fn ended_leftover(&self) -> bool {
        self.ended_leftover
    }

    async fn launch(&mut self, port: Option<u16>) -> Result<(), ServerError> {
        let deadline = Instant::now() + READY;
        loop {
            self.port = match port {
                Some(port) => port,
                None => free_port().map_err(ServerError::io("127.0.0.1"))?,
            };
            let log = self.folder.log();
            let throwaway = self.config.throwaway.then(|| self.folder.path());
            let (postmaster, begin) = Postmaster::spawn(self.command(), &log, self.folder.account(), throwaway)?;
            let postmaster = self.postmaster.insert(postmaster);
            let ended = loop {
                if postmaster.has_ended() {
                    break true;
                }
                // Bounded, since something else may sit on the port and never answer.
                let attempt = connect(self.port, &self.password, "postgres");
                if let Ok(Ok(_)) = tokio::time::timeout(ANSWER, attempt).await {
                    return Ok(());
                }
                if Instant::now() > deadline {
                    break false;
                }
                tokio::time::sleep(POLL).await;
            };
            self.stop().await;
            let output = process::log_since(&log, begin);
            let in_time = Instant::now() < deadline;
            let taken = output.contains("Address already in use");
            // The processes of a server that was killed need a moment to notice.
            let settling = output.contains("pre-existing shared memory block");
            if ended && in_time && (settling || (taken && port.is_none())) {
                tokio::time::sleep(POLL).await;
                continue;
            }
            let detail = error::telling_line(&output, None);
            return Err(match port {
                Some(port) if taken => ServerError::PortTaken { port },
                _ if output.contains(error::NO_SPACE) => ServerError::DiskFull { detail },
                _ => ServerError::Start { detail, log },
            });
        }
    }

    fn command(&self) -> Command {
        let mut command = Command::new(self.binaries.program("postgres"));
        command.arg("-D").arg(self.folder.cluster()).args(["-p", &self.port.to_string()]);
        let defaults = [
            ("listen_addresses", "127.0.0.1"),
            ("unix_socket_directories", ""),
            ("cluster_name", "mesh-six"),
            ("shared_buffers", "64MB"),
            ("max_connections", "100"),
            ("timezone", "UTC"),
            ("log_timezone", "UTC"),
        ];
        let own = self.config.settings.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        for (name, value) in defaults.into_iter().chain(own) {
            command.arg("-c").arg(format!("{name}={value}"));
        }
        command
    }

    async fn create_database(&self) -> Result<(), ServerError> {
        let client = self.connect("postgres").await?;
        if client.query_opt("SELECT FROM pg_database WHERE datname = $1", &[&DATABASE]).await?.is_none() {
            client.batch_execute(&format!("CREATE DATABASE {DATABASE}")).await?;
        }
        Ok(())
    }

    async fn connect(&self, database: &str) -> Result<Client, ServerError> {
        Ok(connect(self.port, &self.password, database).await?)
    }
}

async fn connect(port: u16, password: &str, database: &str) -> Result<Client, tokio_postgres::Error> {
    let (client, connection) = tokio_postgres::Config::new()
        .host("127.0.0.1")
        .port(port)
        .user("postgres")
        .password(password)
        .dbname(database)
        .connect_timeout(Duration::from_secs(2))
        .connect(NoTls)
        .await?;
    tokio::spawn(connection);
    Ok(client)
}

fn free_port() -> std::io::Result<u16> {
    Ok(std::net::TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}

/// Sets up a command for PostgreSQL's programs: their user, a folder that user can enter, plain English messages, and
/// none of the caller's settings for PostgreSQL clients.
fn clean_environment(command: &mut Command, account: Option<Account>) {
    if let Some(account) = account {
        command.uid(account.uid).gid(account.gid);
    }
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("PG")) {
        command.env_remove(name);
    }
    command.current_dir("/").env("LC_ALL", "C");
}
