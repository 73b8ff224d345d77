//! Copies of a server: a streaming standby that can be promoted, and a dump that is restored elsewhere.

use std::{
    ffi::OsStr,
    fs,
    os::unix::fs::{MetadataExt, chown},
    path::Path,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use mesh_six_db::server::{Binaries, PostgresServer, ServerConfig};

use crate::{TestServer, folder::temporary_folder, url, wait_until};

const SOON: Duration = Duration::from_secs(30);

impl TestServer {
    /// A hot standby that streams from this server, on a port of its own. Logins and passwords are the same.
    pub async fn standby(&self) -> Self {
        self.try_standby().await.unwrap_or_else(|error| panic!("cannot start a standby: {error:#}"))
    }

    async fn try_standby(&self) -> Result<Self> {
        let folder = temporary_folder()?;
        let cluster = folder.path().join("postgres");
        let url = self.url();
        let backup = [OsStr::new("--dbname"), url.as_ref(), "--pgdata".as_ref(), cluster.as_ref()];
        let options = ["--write-recovery-conf", "--wal-method=stream", "--checkpoint=fast", "--no-sync"];
        run("pg_basebackup", backup.into_iter().chain(options.map(OsStr::new))).await?;
        for name in ["password", "app-password"] {
            fs::copy(self.folder().join(name), folder.path().join(name))?;
        }
        let owner = fs::metadata(self.folder().join("postgres"))?;
        give(folder.path(), owner.uid(), owner.gid(), false)?;
        let config = ServerConfig { throwaway: true, ..ServerConfig::new(folder.path()) };
        let server = PostgresServer::start(config).await?;
        Ok(Self::of(server, folder))
    }

    /// Makes this standby a server in its own right; returns when it takes writes.
    pub async fn promote(&self) {
        let client = self.client().await;
        let promoted = client.query_one("SELECT pg_promote()", &[]).await.map(|row| row.get::<_, bool>(0));
        assert!(matches!(promoted, Ok(true)), "the standby was not promoted: {promoted:?}");
    }

    /// Waits until this standby has all that `primary` has written so far.
    pub async fn catch_up_with(&self, primary: &Self) {
        let now = "SELECT pg_current_wal_lsn()::text";
        let written = primary.client().await.query_one(now, &[]).await.map(|row| row.get::<_, String>(0));
        let written = written.unwrap_or_else(|error| panic!("cannot ask the primary: {error}"));
        let client = self.client().await;
        let replayed = format!("SELECT pg_last_wal_replay_lsn() >= '{written}'");
        wait_until(SOON, async || client.query_one(&replayed, &[]).await.is_ok_and(|row| row.get(0))).await;
    }

    /// Writes the database into the file `dump`, as an operator would.
    pub async fn dump(&self, dump: &Path) {
        let url = self.url();
        let arguments = [OsStr::new("--format=custom"), "--dbname".as_ref(), url.as_ref(), "--file".as_ref()];
        let done = run("pg_dump", arguments.into_iter().chain([dump.as_os_str()])).await;
        done.unwrap_or_else(|error| panic!("{error:#}"));
    }

    /// Restores `dump` into a new database of this server; gives the owner's URL of it.
    pub async fn restore(&self, dump: &Path) -> String {
        const NAME: &str = "restored";
        let url = url::with_database(&self.url(), NAME);
        let restored = async {
            self.client().await.batch_execute(&format!("CREATE DATABASE {NAME}")).await?;
            run("pg_restore", [OsStr::new("--exit-on-error"), "--dbname".as_ref(), url.as_ref(), dump.as_ref()]).await
        };
        restored.await.unwrap_or_else(|error| panic!("{error:#}"));
        url
    }
}

async fn run(program: &str, arguments: impl IntoIterator<Item = &OsStr>) -> Result<()> {
    let path = Binaries::find(None)?.folder.join(program);
    let mut command = tokio::process::Command::new(&path);
    let output = command.args(arguments).output().await.with_context(|| format!("cannot run {}", path.display()))?;
    if !output.status.success() {
        bail!("{program}: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}

/// Makes everything in `folder` (and the folder itself, where `whole`) belong to the server's user.
fn give(folder: &Path, uid: u32, gid: u32, whole: bool) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            give(&entry.path(), uid, gid, true)?;
        } else {
            std::os::unix::fs::lchown(entry.path(), Some(uid), Some(gid))?;
        }
    }
    if whole {
        chown(folder, Some(uid), Some(gid))?;
    }
    Ok(())
}
