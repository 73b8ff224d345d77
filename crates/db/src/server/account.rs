//! Whom PostgreSQL runs as, and which folders that user can reach.

use std::{
    env, fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use rustix::process::geteuid;

use super::ServerError;

/// The user that PostgreSQL runs as when mesh-six runs as root, since PostgreSQL refuses to be root.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Account {
    pub(super) uid: u32,
    pub(super) gid: u32,
}

/// `None`: PostgreSQL runs as we do.
pub(super) fn other_user() -> Result<Option<Account>, ServerError> {
    if !geteuid().is_root() {
        return Ok(None);
    }
    let passwd = fs::read_to_string("/etc/passwd").map_err(ServerError::io("/etc/passwd"))?;
    in_passwd(&passwd, "postgres").map(Some).ok_or(ServerError::NoUser)
}

fn in_passwd(passwd: &str, user: &str) -> Option<Account> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next()? == user).then_some(())?;
        let uid = fields.nth(1)?.parse().ok()?;
        let gid = fields.next()?.parse().ok()?;
        (uid != 0).then_some(Account { uid, gid })
    })
}

impl Account {
    /// The first folder from the root down to `folder` that this user cannot enter. Folders that do not exist yet
    /// are made enterable, so they do not count.
    pub(super) fn closed_folder(self, folder: &Path) -> Option<PathBuf> {
        let mut way: Vec<&Path> = folder.ancestors().collect();
        way.reverse();
        way.into_iter()
            .filter_map(|step| fs::metadata(step).ok().map(|meta| (step, meta)))
            .find(|(_, meta)| !self.may_enter(meta.uid(), meta.gid(), meta.mode()))
            .map(|(step, _)| step.to_owned())
    }

    fn may_enter(self, uid: u32, gid: u32, mode: u32) -> bool {
        let bit = if uid == self.uid {
            0o100
        } else if gid == self.gid {
            0o010
        } else {
            0o001
        };
        mode & bit != 0
    }
}

/// Where `mesh-six up` keeps its database unless it is told: `~/.local/share/mesh-six`, or `/var/lib/mesh-six` when
/// run as root with a home folder that PostgreSQL's user cannot enter.
pub fn default_data_dir() -> PathBuf {
    let system = PathBuf::from("/var/lib/mesh-six");
    let Some(home) = env::home_dir().filter(|home| home.is_absolute()) else { return system };
    let folder = home.join(".local/share/mesh-six");
    match other_user() {
        Ok(Some(account)) if account.closed_folder(&folder).is_some() => system,
        _ => folder,
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn the_user_is_looked_up() {
        let passwd = "root:x:0:0::/root:/bin/sh\npostgres:x:101:104:,,,:/var/lib/postgresql:/bin/bash\n";
        assert_eq!(in_passwd(passwd, "postgres"), Some(Account { uid: 101, gid: 104 }));
        assert_eq!(in_passwd(passwd, "nobody"), None);
        assert_eq!(in_passwd(passwd, "root"), None, "PostgreSQL never runs as root");
    }

    #[test]
    fn a_closed_folder_on_the_way_is_named() {
        let top = tempfile::tempdir().unwrap();
        let closed = top.path().join("closed");
        fs::create_dir_all(closed.join("inner")).unwrap();
        fs::set_permissions(top.path(), fs::Permissions::from_mode(0o711)).unwrap();
        fs::set_permissions(&closed, fs::Permissions::from_mode(0o700)).unwrap();
        let nobody = Account { uid: 65_534, gid: 65_534 };
        assert_eq!(nobody.closed_folder(&closed.join("inner/new")), Some(closed));
        assert_eq!(nobody.closed_folder(&top.path().join("new")), None);
    }
}
