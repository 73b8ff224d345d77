//! Ending, killing, starting again and cutting off single parts of a rig.

use std::{path::PathBuf, process::ExitStatus, time::Duration};

use anyhow::{Context, Result, bail};
use futures_util::future::{join_all, try_join_all};
use tokio::sync::MutexGuard;

use super::{Instance, Rig};
use crate::launch::{Daprd, Flow, Process};

/// The database's name among the parts.
pub const POSTGRESQL: &str = "postgresql";
/// The broker's name among the parts.
pub const RABBITMQ: &str = "rabbitmq";
/// The state store's name among the parts.
pub const REDIS: &str = "redis";

const SIDECAR: &str = ".daprd";

/// A way from an instance to a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// From the service to PostgreSQL.
    Database,
    /// From the sidecar to RabbitMQ.
    Broker,
    /// From the sidecar to Redis.
    Store,
}

impl Way {
    /// All there are.
    pub const ALL: [Self; 3] = [Self::Database, Self::Broker, Self::Store];
}

enum Part<'a> {
    Postgresql,
    Rabbitmq,
    Redis,
    App(&'a Instance),
    Sidecar(&'a Instance),
}

impl Rig {
    /// All parts: servers, services, sidecars.
    pub fn parts(&self) -> Vec<String> {
        let servers = [POSTGRESQL, RABBITMQ, REDIS].into_iter().map(str::to_owned);
        let own = self.instances.keys().flat_map(|name| [name.clone(), format!("{name}{SIDECAR}")]);
        servers.chain(own).collect()
    }

    /// SIGKILL, as a power cut.
    pub async fn kill_nine(&self, part: &str) -> Result<()> {
        if let Part::Postgresql = self.part(part)? {
            self.postgresql.lock().await.kill_nine();
            return Ok(());
        }
        self.with_process(part, Process::kill_nine).await.map(drop)
    }

    /// SIGTERM, without waiting for what comes of it.
    pub async fn terminate(&self, part: &str) -> Result<()> {
        self.with_process(part, Process::terminate).await
    }

    /// SIGSTOP: it is there and does nothing. [`Self::resume`] lets it go on.
    pub async fn freeze(&self, part: &str) -> Result<()> {
        self.with_process(part, Process::freeze).await
    }

    /// The end of [`Self::freeze`].
    pub async fn resume(&self, part: &str) -> Result<()> {
        self.with_process(part, Process::resume).await
    }

    /// SIGTERM, and SIGKILL if it does not end within its grace period. How it ended, if it ran; `None` for PostgreSQL.
    pub async fn stop(&self, part: &str) -> Result<Option<ExitStatus>> {
        Ok(match self.part(part)? {
            Part::Postgresql => {
                self.postgresql.lock().await.stop().await;
                None
            }
            Part::Rabbitmq => self.rabbitmq.lock().await.process().stop().await,
            Part::Redis => self.redis.lock().await.process().stop().await,
            Part::App(instance) => instance.app.lock().await.stop().await,
            Part::Sidecar(instance) => instance.daprd.lock().await.process().stop().await,
        })
    }

    /// Waits for the end of a part that was told to; `None` if it has not ended `within`. Not for PostgreSQL.
    pub async fn ended(&self, part: &str, within: Duration) -> Result<Option<ExitStatus>> {
        Ok(match self.part(part)? {
            Part::Postgresql => bail!("PostgreSQL is stopped and waited for in one"),
            Part::Rabbitmq => self.rabbitmq.lock().await.process().ended(within).await,
            Part::Redis => self.redis.lock().await.process().ended(within).await,
            Part::App(instance) => instance.app.lock().await.ended(within).await,
            Part::Sidecar(instance) => instance.daprd.lock().await.process().ended(within).await,
        })
    }

    /// Starts a part again, on the same ports and with the same data. A server answers when this returns; of a service
    /// or sidecar the process is there, and [`Self::wait_ready`] waits for the rest.
    pub async fn start_again(&self, part: &str) -> Result<()> {
        match self.part(part)? {
            Part::Postgresql => Ok(self.postgresql.lock().await.restart().await?),
            Part::Rabbitmq => self.rabbitmq.lock().await.restart().await,
            Part::Redis => self.redis.lock().await.restart().await,
            Part::App(instance) => instance.app.lock().await.start(),
            Part::Sidecar(instance) => instance.daprd.lock().await.process().start(),
        }
    }

    /// Waits until this instance is ready and its sidecar has made its subscriptions.
    pub async fn wait_ready(&self, instance: &str) -> Result<()> {
        self.instance(instance).wait_ready().await
    }

    /// The same for all instances.
    pub async fn wait_all_ready(&self) -> Result<()> {
        try_join_all(self.instances.values().map(Instance::wait_ready)).await.map(drop)
    }

    /// Cuts or heals a way. The rig must have been started with links.
    pub fn set_way(&self, instance: &str, way: Way, flow: Flow) -> Result<()> {
        let links = self.instance(instance).links.as_ref().context("the rig was started without links")?;
        let link = match way {
            Way::Database => &links.database,
            Way::Broker => &links.broker,
            Way::Store => &links.store,
        };
        link.set(flow);
        Ok(())
    }

    /// A part's process id while it runs.
    pub async fn pid(&self, part: &str) -> Result<Option<u32>> {
        match self.part(part)? {
            Part::Postgresql => Ok(self.postgresql.lock().await.pid()),
            _ => self.with_process(part, |process| process.pid()).await,
        }
    }

    /// Whether a part runs.
    pub async fn is_running(&self, part: &str) -> Result<bool> {
        match self.part(part)? {
            Part::Postgresql => Ok(!self.postgresql.lock().await.has_ended()),
            _ => self.with_process(part, Process::is_running).await,
        }
    }

    /// The file of a part's log.
    pub fn log_path(&self, part: &str) -> Result<PathBuf> {
        let root = self.folder.path();
        Ok(match self.part(part)? {
            Part::Postgresql => root.join("postgresql/postgres.log"),
            Part::Rabbitmq => root.join("rabbitmq/rabbitmq.log"),
            Part::Redis => root.join("redis/redis.log"),
            Part::App(instance) => root.join(&instance.spec.name).join("app.log"),
            Part::Sidecar(instance) => root.join(&instance.spec.name).join(format!("{part}.log")),
        })
    }

    /// What a part has said so far.
    pub fn log(&self, part: &str) -> Result<String> {
        let file = self.log_path(part)?;
        let text = std::fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    }

    /// Ends everything in order: services, sidecars, servers.
    pub async fn shut_down(mut self) {
        join_all(self.instances.values().map(async |instance| instance.app.lock().await.stop().await)).await;
        join_all(self.instances.values().map(async |instance| instance.daprd.lock().await.process().stop().await))
            .await;
        let (postgresql, rabbitmq) = (self.postgresql.get_mut(), self.rabbitmq.get_mut());
        tokio::join!(postgresql.stop(), rabbitmq.process().stop(), self.redis.get_mut().process().stop());
    }

    fn part(&self, name: &str) -> Result<Part<'_>> {
        Ok(match name {
            POSTGRESQL => Part::Postgresql,
            RABBITMQ => Part::Rabbitmq,
            REDIS => Part::Redis,
            _ => {
                let instance = self.instances.get(name.strip_suffix(SIDECAR).unwrap_or(name));
                let instance = instance.with_context(|| format!("the rig has no part {name}"))?;
                if name.ends_with(SIDECAR) { Part::Sidecar(instance) } else { Part::App(instance) }
            }
        })
    }

    async fn with_process<T>(&self, part: &str, work: impl FnOnce(&mut Process) -> T) -> Result<T> {
        Ok(match self.part(part)? {
            Part::Postgresql => bail!("PostgreSQL can be stopped, killed and started, no more"),
            Part::Rabbitmq => work(self.rabbitmq.lock().await.process()),
            Part::Redis => work(self.redis.lock().await.process()),
            Part::App(instance) => work(&mut *instance.app.lock().await),
            Part::Sidecar(instance) => {
                let mut daprd: MutexGuard<'_, Daprd> = instance.daprd.lock().await;
                work(daprd.process())
            }
        })
    }
}

impl Drop for Rig {
    /// At once: nobody needs what they would still write.
    fn drop(&mut self) {
        for instance in self.instances.values_mut() {
            instance.app.get_mut().kill_nine();
            instance.daprd.get_mut().process().kill_nine();
        }
        self.rabbitmq.get_mut().process().kill_nine();
        self.redis.get_mut().process().kill_nine();
    }
}
