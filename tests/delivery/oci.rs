//! Images as Nix would make them, without Nix: docker-archives of dockerTools' form, and nix/archive.sh on them.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::support::{root, run};

/// The tag of all of them.
pub(crate) const TAG: &str = "abc1234";

/// A content's digest, as registries write it.
pub(crate) fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold("sha256:".to_owned(), |text, byte| format!("{text}{byte:02x}"))
}

/// A tar of `what` in `from`, the same whenever it is made.
pub(crate) fn tar(from: &Path, to: &Path, what: &[&str]) {
    let mut tar = Command::new("tar");
    tar.args(["--sort=name", "--mtime=@1", "--owner=0", "--group=0", "--create", "--directory"]).arg(from);
    run(tar.arg("--file").arg(to).args(what), "");
}

/// What an image is of.
pub(crate) struct Image<'a> {
    pub(crate) service: &'a str,
    pub(crate) built: bool,
    pub(crate) architecture: &'a str,
    pub(crate) config: Value,
}

/// Writes the OCI archive and the entry of a service's image into `images`, from layers in `folder`.
pub(crate) fn archive(folder: &Path, images: &Path, image: &Image, layers: &[&str]) -> PathBuf {
    let Image { service, built, architecture, config } = image;
    let ids: Vec<String> = layers.iter().map(|layer| digest(&fs::read(folder.join(layer)).unwrap())).collect();
    let image = json!({
        "architecture": architecture, "os": "linux", "config": config, "rootfs": { "type": "layers", "diff_ids": ids },
    });
    let tag = format!("mesh-six/{service}:{TAG}");
    let manifest = json!([{ "Config": "config.json", "RepoTags": [tag], "Layers": layers }]);
    fs::write(folder.join("config.json"), image.to_string()).unwrap();
    fs::write(folder.join("manifest.json"), manifest.to_string()).unwrap();
    let docker = folder.join(format!("{service}.docker.tar"));
    let mut what = vec!["config.json", "manifest.json"];
    what.extend(layers);
    tar(folder, &docker, &what);
    let mut convert = Command::new("bash");
    convert.arg(root().join("nix/archive.sh")).arg(images).arg(&docker);
    run(convert.args([*service, TAG, if *built { "true" } else { "false" }]), "");
    fs::remove_file(docker).unwrap();
    images.join(format!("{service}.tar"))
}

/// Makes index.json, as images.nix does.
pub(crate) fn index(images: &Path) {
    let join = "jq --slurp . *.entry > index.json && rm *.entry";
    run(Command::new("bash").args(["-euc", join]).current_dir(images), "");
}
