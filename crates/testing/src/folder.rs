//! Folders of tests.

use std::{fs::Permissions, os::unix::fs::PermissionsExt};

use anyhow::Context;
use tempfile::TempDir;

/// A folder that PostgreSQL's user can pass through.
pub fn temporary_folder() -> anyhow::Result<TempDir> {
    let mut builder = tempfile::Builder::new();
    let builder = builder.prefix("mesh-six-test-").permissions(Permissions::from_mode(0o711));
    builder.tempdir().context("cannot make a temporary folder")
}
