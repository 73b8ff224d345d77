//! The disk under the event partition is full, then has room again.

use std::{
    fs,
    os::unix::fs::{MetadataExt, chown},
    path::{Path, PathBuf},
    process::Command,
};

use chrono::Utc;
use mesh_six_core::{Event, TraceId, id::new_id};
use mesh_six_db::{DbError, events::EventLog};
use mesh_six_testing::{TestServer, temporary_folder, wait_until};
use serde_json::json;
use tempfile::TempDir;

use super::{Load, SOON};

/// A small disk in memory, for PostgreSQL's user.
struct SmallDisk {
    path: PathBuf,
    // Removed after the disk is gone.
    _folder: TempDir,
}

impl SmallDisk {
    fn new(server: &TestServer, megabytes: u32) -> Self {
        let folder = temporary_folder().unwrap();
        let disk = Self { path: folder.path().join("disk"), _folder: folder };
        fs::create_dir(&disk.path).unwrap();
        mount(&disk.path, &["-t", "tmpfs", "-o", &format!("size={megabytes}m,mode=700"), "tmpfs"]);
        let owner = fs::metadata(server.folder().join("postgres")).unwrap();
        chown(&disk.path, Some(owner.uid()), Some(owner.gid())).unwrap();
        disk
    }

    fn grow(&self, megabytes: u32) {
        mount(&self.path, &["-o", &format!("remount,size={megabytes}m")]);
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.path).status();
    }
}

fn mount(path: &Path, args: &[&str]) {
    let output = Command::new("mount").args(args).arg(path).output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "this test mounts a small disk, which needs root and mount: {told}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_under_the_event_partition_loses_and_doubles_nothing() {
    let server = TestServer::start().await;
    let disk = SmallDisk::new(&server, 16);
    let (client, db) = (server.client().await, server.database().await);
    let partition = Utc::now().format("mesh_six_events_%Y_%m");
    let place = format!("CREATE TABLESPACE small LOCATION '{}'", disk.path.display());
    client.batch_execute(&place).await.unwrap();
    client.batch_execute(&format!("ALTER TABLE {partition} SET TABLESPACE small")).await.unwrap();
    let log = EventLog::start(db.clone());
    let load = Load::start(std::slice::from_ref(&log), 8, 4, 1_500);
    load.goes_on(50).await;
    load.fails(40).await;
    // Whoever asks now learns why. What cannot be compressed fills whatever room is left.
    let text = || (0..1_500).map(|_| new_id().to_string()).collect::<String>();
    let large = || (0..20).map(|_| Event::new("test.large", "tests", TraceId::new(), json!(text()))).collect();
    wait_until(SOON, async || {
        let refused = log.append(large()).await;
        matches!(refused, Err(DbError::Unavailable(why)) if why.contains("No space left"))
    })
    .await;
    disk.grow(256);
    load.goes_on(100).await;
    load.ends_whole(&client, &db).await;
    log.close().await;
    // The server goes first, or its files would keep the disk.
    db.close();
    drop((client, server));
}
