//! The folder of a rig that somebody runs by hand.

use std::{
    env,
    fs::{self, DirBuilder, File, Permissions},
    os::unix::fs::{DirBuilderExt, PermissionsExt},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use mesh_six_db::server::default_data_dir;
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};

use crate::launch::write_private;

/// Where a rig by hand is kept, if not in the default place.
pub const FOLDER_VARIABLE: &str = "MESH_SIX_RIG_FOLDER";

/// The folder of a rig by hand.
#[derive(Clone, Debug)]
pub(crate) struct Home(PathBuf);

/// What runs, once everything is ready.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct State {
    /// The front door: the public API under one address.
    pub(crate) url: String,
    /// Whether it has a network namespace of its own.
    pub(crate) isolated: bool,
    /// How long it took to get ready, in milliseconds.
    pub(crate) ready_after_ms: u64,
    /// Everything that was started, in order.
    pub(crate) parts: Vec<Part>,
    /// For `dapr run` and other programs, with secrets.
    pub(crate) env: Vec<(String, String)>,
}

/// A server, a service or a sidecar.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Part {
    pub(crate) name: String,
    /// `host:port` where it is reached from this machine.
    pub(crate) address: String,
    /// The same, where the rig's own processes reach it.
    pub(crate) inner_port: u16,
    pub(crate) log: PathBuf,
}

impl Home {
    /// The folder that was given, else that of the environment, else one beside the data of `mesh-six up`.
    pub(crate) fn find(given: Option<PathBuf>) -> Result<Self> {
        let folder = given.or_else(|| env::var_os(FOLDER_VARIABLE).map(PathBuf::from));
        let folder = folder.unwrap_or_else(|| default_data_dir().with_file_name("mesh-six-rig"));
        Ok(Self(std::path::absolute(folder)?))
    }

    /// Makes it if it is missing. PostgreSQL's user passes through it.
    pub(crate) fn make(&self) -> Result<()> {
        let made = DirBuilder::new().recursive(true).mode(0o711).create(&self.0);
        made.with_context(|| format!("cannot make {}", self.0.display()))?;
        let private = self.0.join("private");
        fs::create_dir_all(&private)?;
        Ok(fs::set_permissions(&private, Permissions::from_mode(0o700))?)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// What the parts keep.
    pub(crate) fn data(&self) -> PathBuf {
        self.0.join("data")
    }

    /// What the supervisor says.
    pub(crate) fn log(&self) -> PathBuf {
        self.0.join("supervisor.log")
    }

    /// Where the namespace is entered.
    pub(crate) fn socket(&self) -> PathBuf {
        self.0.join("private/door.sock")
    }

    fn state_file(&self) -> PathBuf {
        self.0.join("private/state.json")
    }

    pub(crate) fn state(&self) -> Option<State> {
        serde_json::from_slice(&fs::read(self.state_file()).ok()?).ok()
    }

    pub(crate) fn write_state(&self, state: &State) -> Result<()> {
        write_private(&self.state_file(), &serde_json::to_string_pretty(state)?)
    }

    /// Forgets what ran.
    pub(crate) fn remove_state(&self) {
        let _ = fs::remove_file(self.state_file());
        let _ = fs::remove_file(self.socket());
    }

    /// The supervisor's, for as long as it lives. `None`: another one has it.
    pub(crate) fn lock(&self) -> Result<Option<File>> {
        let file = File::options().create(true).truncate(false).write(true).open(self.0.join("lock"));
        let file = file.with_context(|| format!("cannot write in {}", self.0.display()))?;
        Ok(flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok().then_some(file))
    }
}
