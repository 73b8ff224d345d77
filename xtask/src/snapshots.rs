//! Snapshots: none may wait for a review, and none may be left that no test refers to.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Result, bail};

use crate::steps::root;

/// Compares the snapshot files of the repository with those that the tests, run with
/// `INSTA_SNAPSHOT_REFERENCES_FILE`, have listed in `references`.
pub(crate) fn check(references: &Path) -> Result<()> {
    let mut files = Vec::new();
    for folder in ["crates", "tests", "xtask"] {
        collect(&root().join(folder), &mut files)?;
    }
    let used: BTreeSet<PathBuf> = fs::read_to_string(references)
        .unwrap_or_default()
        .lines()
        .filter_map(|line| Path::new(line).canonicalize().ok())
        .collect();
    let mut faults = Vec::new();
    for file in &files {
        let shown = file.strip_prefix(root()).unwrap_or(file).display();
        if file.extension().is_some_and(|extension| extension == "new") {
            faults.push(format!("{shown}: waits for a review"));
        } else if !used.contains(&file.canonicalize()?) {
            faults.push(format!("{shown}: no test refers to it"));
        }
    }
    if !faults.is_empty() {
        bail!("snapshots:\n  {}", faults.join("\n  "));
    }
    eprintln!("{} snapshots, all referred to", files.len());
    Ok(())
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if path.is_dir() && name != "target" {
            collect(&path, files)?;
        } else if name.ends_with(".snap") || name.ends_with(".snap.new") {
            files.push(path);
        }
    }
    Ok(())
}
