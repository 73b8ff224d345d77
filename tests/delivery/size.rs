//! Measure P13: what all sixteen images weigh in a registry, where what they share lies once.

use std::{collections::BTreeMap, fs, process::Command};

use mesh_six_core::roster::SERVICES;
use serde_json::json;

use crate::{
    containers::CERTIFICATES,
    evaluated::services,
    oci::{Image, archive, tar},
    support::{run, tool},
};

/// In bytes.
const LARGEST: u64 = 25_000_000;

#[test]
#[ignore = "needs the release build: cargo xtask images"]
fn p13_sixteen_images_are_at_most_25_mb_together() {
    let folder = tempfile::tempdir().unwrap();
    let (program, certificates, images) =
        (folder.path().join("program"), folder.path().join("certificates"), folder.path().join("images"));
    for path in [program.join("bin"), certificates.join("etc/ssl/certs"), images.clone()] {
        fs::create_dir_all(path).unwrap();
    }
    fs::copy(tool("static/mesh-six"), program.join("bin/mesh-six")).unwrap();
    fs::copy(CERTIFICATES, certificates.join("etc/ssl/certs/ca-bundle.crt")).unwrap();
    tar(&program, &folder.path().join("program.tar"), &["bin"]);
    tar(&certificates, &folder.path().join("certificates.tar"), &["etc"]);
    let specs = services();
    let mut blobs = BTreeMap::new();
    for service in SERVICES {
        let spec = &specs[service.name];
        let config = json!({ "Entrypoint": ["/bin/mesh-six"], "Cmd": spec["cmd"], "User": spec["user"],
            "Labels": spec["labels"] });
        let layers = ["certificates.tar", "program.tar"];
        let image = Image { service: service.name, built: service.built, architecture: "amd64", config };
        let image = archive(folder.path(), &images, &image, &layers);
        // mode, owner, size, date, time, name
        let listed = run(Command::new("tar").args(["--list", "--verbose", "--file"]).arg(image), "");
        for line in listed.lines().filter(|line| line.contains("blobs/sha256/") && line.starts_with('-')) {
            let fields: Vec<&str> = line.split_whitespace().collect();
            blobs.insert(fields[5].to_owned(), fields[2].parse::<u64>().unwrap());
        }
    }
    let all: u64 = blobs.values().sum();
    // Two layers, and of each image its configuration and its manifest.
    assert_eq!(blobs.len(), 2 + 2 * SERVICES.len());
    println!("P13: sixteen images are {} blobs of {all} bytes together, compressed; at most {LARGEST}", blobs.len());
    assert!(all <= LARGEST, "{all}");
}
