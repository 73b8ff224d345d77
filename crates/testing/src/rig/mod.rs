//! The mesh beside real Dapr, RabbitMQ, Redis and PostgreSQL, on one machine: for tests, and by hand with the program
//! `rig`.
//!
//! Everything listens on 127.0.0.1. Sidecars find each other by multicast, which the loopback device knows only where it
//! was told so; `cargo xtask test` runs the tests with a rig in a network namespace that is made that way.

mod guest;
pub mod hand;
mod instance;
mod namespace;
mod parts;
mod spec;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use futures_util::future::try_join_all;
use mesh_six_db::{
    migrate,
    server::{PostgresServer, ServerConfig},
};
use tempfile::TempDir;
use tokio::sync::Mutex;

use self::instance::{Common, Instance};
pub use self::{
    guest::Guest,
    namespace::Namespace,
    parts::{POSTGRESQL, RABBITMQ, REDIS, Way},
    spec::{InstanceSpec, RigSpec, ServerPorts},
};
use crate::{
    folder::temporary_folder,
    launch::{DaprdPorts, RabbitMq, RabbitMqConfig, Redis, RedisConfig, secret},
};

/// A running rig. Dropping it kills what runs; [`Rig::shut_down`] ends it in order.
///
/// A part of it is told by its name: `postgresql`, `rabbitmq`, `redis`, an instance's name for its service, and with
/// `.daprd` for its sidecar.
#[derive(Debug)]
pub struct Rig {
    instances: BTreeMap<String, Instance>,
    postgresql: Mutex<PostgresServer>,
    rabbitmq: Mutex<RabbitMq>,
    redis: Mutex<Redis>,
    addresses: Addresses,
    ready_after: Duration,
    // Removed last.
    folder: Folder,
}

#[derive(Debug)]
enum Folder {
    Kept(PathBuf),
    Temporary(TempDir),
}

/// Where the servers are and what they want to hear.
#[derive(Clone, Debug)]
struct Addresses {
    owner_url: String,
    app_url: String,
    broker_url: String,
    app_token: String,
    api_token: String,
}

impl Rig {
    /// Starts the servers side by side, then all services and sidecars, and waits until all are ready.
    pub async fn start(spec: RigSpec) -> Result<Self> {
        let begin = Instant::now();
        let folder = match &spec.folder {
            Some(folder) => Folder::Kept(folder.clone()),
            None => Folder::Temporary(temporary_folder()?),
        };
        let root = folder.path();
        fs::create_dir_all(root).with_context(|| format!("cannot make {}", root.display()))?;
        let secrets = root.join("secrets");
        fs::create_dir_all(&secrets)?;
        let (postgresql, rabbitmq, redis) = tokio::try_join!(
            postgresql(&spec, root),
            RabbitMq::start(RabbitMqConfig {
                port: spec.ports.rabbitmq,
                settings: spec.rabbitmq.clone(),
                ..RabbitMqConfig::new(root.join("rabbitmq"))
            }),
            Redis::start(RedisConfig { port: spec.ports.redis, ..RedisConfig::new(root.join("redis")) }),
        )?;
        let (postgresql, app_url) = postgresql;
        let addresses = Addresses {
            owner_url: postgresql.url(),
            app_url,
            broker_url: rabbitmq.url(),
            app_token: secret(&secrets.join("app-token"))?,
            api_token: secret(&secrets.join("api-token"))?,
        };
        let common = Common {
            spec: &spec,
            database_url: addresses.app_url.clone(),
            broker_url: addresses.broker_url.clone(),
            redis_address: redis.address(),
            redis_password: redis.password().to_owned(),
            app_token: addresses.app_token.clone(),
            api_token: addresses.api_token.clone(),
        };
        let mut instances = BTreeMap::new();
        for instance in &spec.instances {
            let name = instance.name.clone();
            let taken = [POSTGRESQL, RABBITMQ, REDIS].contains(&&*name) || instances.contains_key(&name);
            ensure!(!taken, "two parts of the rig are called {name}");
            let prepared = Instance::prepare(instance.clone(), &common, &root.join(&name)).await?;
            instances.insert(name, prepared);
        }
        let mut rig = Self {
            instances,
            postgresql: Mutex::new(postgresql),
            rabbitmq: Mutex::new(rabbitmq),
            redis: Mutex::new(redis),
            addresses,
            ready_after: Duration::ZERO,
            folder,
        };
        try_join_all(rig.instances.values().map(Instance::start)).await?;
        rig.wait_all_ready().await?;
        rig.ready_after = begin.elapsed();
        Ok(rig)
    }

    /// How long it took from nothing to everything ready.
    pub fn ready_after(&self) -> Duration {
        self.ready_after
    }

    /// Where everything is kept.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The names of the instances.
    pub fn instances(&self) -> impl Iterator<Item = &str> {
        self.instances.keys().map(String::as_str)
    }

    /// What an instance was made from.
    pub fn spec(&self, instance: &str) -> &InstanceSpec {
        &self.instance(instance).spec
    }

    /// The root of an instance's own HTTP API.
    pub fn url(&self, instance: &str) -> String {
        self.instance(instance).url()
    }

    /// The root of the HTTP API of an instance's sidecar; callers show [`Self::api_token`].
    pub fn sidecar_url(&self, instance: &str) -> String {
        format!("http://127.0.0.1:{}", self.sidecar_ports(instance).http)
    }

    /// The ports of an instance's sidecar.
    pub fn sidecar_ports(&self, instance: &str) -> DaprdPorts {
        self.instance(instance).sidecar_ports
    }

    /// The database for its owner, who may do anything.
    pub fn owner_url(&self) -> &str {
        &self.addresses.owner_url
    }

    /// The database for the services' login.
    pub fn database_url(&self) -> &str {
        &self.addresses.app_url
    }

    /// The broker, with user and password.
    pub fn broker_url(&self) -> &str {
        &self.addresses.broker_url
    }

    /// What a sidecar shows to its service in the header `dapr-api-token`.
    pub fn app_token(&self) -> &str {
        &self.addresses.app_token
    }

    /// What a sidecar wants to see in the header `dapr-api-token`.
    pub fn api_token(&self) -> &str {
        &self.addresses.api_token
    }

    /// Redis, to look into it.
    pub fn redis(&self) -> &Mutex<Redis> {
        &self.redis
    }

    fn instance(&self, name: &str) -> &Instance {
        self.instances.get(name).unwrap_or_else(|| panic!("the rig has no instance {name}"))
    }
}

async fn postgresql(spec: &RigSpec, root: &Path) -> Result<(PostgresServer, String)> {
    let folder = root.join("postgresql");
    let server = PostgresServer::start(ServerConfig {
        port: spec.ports.postgresql,
        settings: spec.postgresql.clone(),
        throwaway: spec.folder.is_none(),
        ..ServerConfig::new(folder)
    });
    let server = server.await.context("PostgreSQL does not start")?;
    migrate::run(&server.url()).await.context("the database cannot be migrated")?;
    let app_url = server.create_app_login().await?;
    Ok((server, app_url))
}

impl Folder {
    fn path(&self) -> &Path {
        match self {
            Self::Kept(path) => path,
            Self::Temporary(folder) => folder.path(),
        }
    }
}
