//! The files of the repository that are made from services.toml. `cargo xtask generate` writes them; tests compare.

mod dapr_yaml;
pub mod k8s;

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use mesh_six_core::roster::SERVICES;

/// Writes what is missing or no longer right below `root`, the top of the repository. A service's folder that is there
/// already stays as it is: it may say more than what services share. Gives the files written.
///
/// # Errors
/// A file that cannot be read or written, and a built service whose folder must be written by hand.
pub fn write(root: &Path) -> Result<Vec<PathBuf>> {
    let base = root.join("k8s/base");
    let list = base.join("kustomization.yaml");
    let listed = fs::read_to_string(&list).with_context(|| format!("cannot read {}", list.display()))?;
    let built = || SERVICES.iter().filter(|service| service.built);
    let mut files = vec![
        (root.join("dapr.yaml"), dapr_yaml::dapr_yaml()),
        (list, k8s::with_services(&listed, built().map(|service| service.name))?),
    ];
    for service in built() {
        let folder = base.join(service.name);
        if !folder.join("deployment.yaml").exists() {
            files.extend(k8s::folder(service.name, service.kind)?.map(|(file, text)| (folder.join(file), text)));
        }
    }
    let mut written = Vec::new();
    for (file, text) in files {
        if fs::read_to_string(&file).is_ok_and(|present| present == text) {
            continue;
        }
        if let Some(folder) = file.parent() {
            fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        }
        fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))?;
        written.push(file);
    }
    Ok(written)
}
