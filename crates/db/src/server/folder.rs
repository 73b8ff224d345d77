//! The data folder: its lock, its passwords, and the cluster that `initdb` makes in it.
//!
//! The folder holds `postgres` (PostgreSQL's own), `password` and `app-password` (mode 0600), `postgres.log`, `lock`.

use std::{
    fs::{self, DirBuilder, File, OpenOptions, Permissions},
    io::{Read, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, chown},
    path::{Path, PathBuf},
    process::Stdio,
};

use rustix::process::geteuid;

use super::{Binaries, ServerError, account::Account, clean_environment, error};

/// A data folder that nobody else uses while this value lives.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    account: Option<Account>,
    _lock: File,
}

impl Folder {
    /// Makes the folder if it is missing, checks that the server's user can reach it, and locks it.
    pub(super) fn open(path: &Path, account: Option<Account>) -> Result<Self, ServerError> {
        if !path.exists() {
            make(path, account)?;
        }
        let path = path.canonicalize().map_err(ServerError::io(path))?;
        let meta = fs::metadata(&path).map_err(ServerError::io(&path))?;
        let ours = meta.uid() == geteuid().as_raw() || account.is_some_and(|account| account.uid == meta.uid());
        if !ours || meta.mode() & 0o002 != 0 {
            return Err(ServerError::Unsafe { folder: path });
        }
        if let Some(folder) = account.and_then(|account| account.closed_folder(&path)) {
            return Err(ServerError::NotTraversable { folder });
        }
        let lock = lock(&path)?;
        Ok(Self { path, account, _lock: lock })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Whom the server runs as, if not as we do.
    pub(super) fn account(&self) -> Option<Account> {
        self.account
    }

    pub(super) fn cluster(&self) -> PathBuf {
        self.path.join("postgres")
    }

    pub(super) fn log(&self) -> PathBuf {
        self.path.join("postgres.log")
    }

    /// The major version that made the cluster, if there is one.
    pub(super) fn made_by(&self) -> Option<u32> {
        fs::read_to_string(self.cluster().join("PG_VERSION")).ok()?.trim().parse().ok()
    }

    /// A password kept in a file that only its owner can read; made up on first use. `initdb` reads the file as the
    /// server's user, so that user owns it.
    pub(super) fn password(&self, name: &str) -> Result<String, ServerError> {
        let path = self.path.join(name);
        if let Ok(password) = fs::read_to_string(&path)
            && !password.is_empty()
        {
            return Ok(password);
        }
        let password = random_hex()?;
        // Written aside and renamed, so that a full disk never leaves half a password behind.
        let aside = self.path.join(format!("{name}.new"));
        let write = || {
            let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&aside)?;
            if let Some(account) = self.account {
                chown(&aside, Some(account.uid), Some(account.gid))?;
            }
            file.write_all(password.as_bytes())?;
            file.sync_all()?;
            fs::rename(&aside, &path)
        };
        write().map_err(ServerError::io(&path))?;
        Ok(password)
    }

    /// Runs `initdb` where there is no cluster yet. It works in a folder aside, so an interrupted run leaves nothing
    /// that looks finished.
    pub(super) async fn initialise(&self, binaries: &Binaries, sync: bool) -> Result<(), ServerError> {
        if self.made_by().is_some() {
            return Ok(());
        }
        self.password("password")?;
        let aside = self.path.join("postgres.new");
        if aside.exists() {
            fs::remove_dir_all(&aside).map_err(ServerError::io(&aside))?;
        }
        DirBuilder::new().mode(0o700).create(&aside).map_err(ServerError::io(&aside))?;
        if let Some(account) = self.account {
            chown(&aside, Some(account.uid), Some(account.gid)).map_err(ServerError::io(&aside))?;
        }
        let program = binaries.program("initdb");
        let mut command = tokio::process::Command::new(&program);
        clean_environment(command.as_std_mut(), self.account);
        command
            .args(["--username=postgres", "--auth=scram-sha-256", "--encoding=UTF8", "--locale=C"])
            .arg("--pwfile")
            .arg(self.path.join("password"))
            .args((!sync).then_some("--no-sync"))
            .arg("--pgdata")
            .arg(&aside)
            .stdin(Stdio::null())
            .kill_on_drop(true);
        let output = command.output().await.map_err(ServerError::io(&program))?;
        if !output.status.success() {
            // First what it says on its way, then what went wrong: where no line is marked as an error, the first
            // complaint tells more than the last step.
            let complaint = String::from_utf8_lossy(&output.stderr);
            let output = String::from_utf8_lossy(&output.stdout).into_owned() + &complaint;
            let detail = error::telling_line(&output, complaint.lines().next());
            // A half-made cluster must not keep the disk full.
            if let Err(error) = fs::remove_dir_all(&aside) {
                tracing::debug!(error = %error, "could not remove a half-made database folder");
            }
            return Err(if output.contains(error::NO_SPACE) {
                ServerError::DiskFull { detail }
            } else {
                ServerError::Init { detail }
            });
        }
        let cluster = self.cluster();
        fs::rename(&aside, &cluster).map_err(ServerError::io(&cluster))
    }
}

fn make(path: &Path, account: Option<Account>) -> Result<(), ServerError> {
    if let Some(folder) = account.and_then(|account| account.closed_folder(path)) {
        return Err(ServerError::NotTraversable { folder });
    }
    fs::create_dir_all(path).map_err(ServerError::io(path))?;
    // As root, the server's user must pass through; nobody may list or write.
    let mode = if account.is_some() { 0o711 } else { 0o700 };
    fs::set_permissions(path, Permissions::from_mode(mode)).map_err(ServerError::io(path))
}

fn lock(folder: &Path) -> Result<File, ServerError> {
    let path = folder.join("lock");
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path)
        .map_err(ServerError::io(&path))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(fs::TryLockError::WouldBlock) => {
            let mut pid = String::new();
            let known = file.read_to_string(&mut pid).is_ok() && !pid.trim().is_empty();
            let holder = if known { format!(" (process {})", pid.trim()) } else { String::new() };
            return Err(ServerError::Locked { folder: folder.to_owned(), holder });
        }
        Err(fs::TryLockError::Error(source)) => return Err(ServerError::Io { path, source }),
    }
    file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id())).map_err(ServerError::io(&path))?;
    Ok(file)
}

fn random_hex() -> Result<String, ServerError> {
    let source = "/dev/urandom";
    let mut bytes = [0; 16];
    File::open(source).and_then(|mut file| file.read_exact(&mut bytes)).map_err(ServerError::io(source))?;
    Ok(format!("{:032x}", u128::from_ne_bytes(bytes)))
}
