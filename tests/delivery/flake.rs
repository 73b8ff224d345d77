//! The flake: it parses, evaluates, has the outputs that it promises, and its lock is of its inputs.

use std::fs;

use serde_json::Value;

use crate::{
    evaluated::{COPY, flake, parses, value},
    support::{assert_none, at, copy, list, read, text},
};

#[test]
fn every_nix_file_parses_and_the_flake_only_lists() {
    let mut folders = vec![COPY.clone()];
    let mut count = 0;
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "nix") {
                assert!(!parses(&path).is_empty());
                count += 1;
            }
        }
    }
    assert!(count > 10, "{count}");
    assert!(read("flake.nix").lines().count() < 50);
}

#[test]
fn the_flake_has_the_outputs_that_it_promises() {
    let shown = flake(&COPY, &["flake", "show", "--json"], "").unwrap();
    let shown: Value = serde_json::from_str(&shown).unwrap();
    let mut lines = Vec::new();
    for (kind, systems) in shown.as_object().unwrap() {
        for (system, outputs) in systems.as_object().unwrap() {
            let names: Vec<&str> = outputs.as_object().unwrap().keys().map(String::as_str).collect();
            lines.push(format!("{kind}.{system}: {}", names.join(" ")));
        }
    }
    insta::assert_snapshot!(lines.join("\n"));
    for system in ["x86_64-linux", "aarch64-linux"] {
        let packages = shown["packages"][system].as_object().unwrap();
        assert_eq!(packages.keys().filter(|name| name.starts_with("image-")).count(), 16);
    }
}

#[test]
fn the_lock_is_of_the_inputs() {
    let lock: Value = serde_json::from_str(&read("flake.lock")).unwrap();
    let (locked, original) = (at(&lock, "nodes.nixpkgs.locked"), at(&lock, "nodes.nixpkgs.original"));
    let url = ["owner", "repo", "ref"].map(|part| text(original, part)).join("/");
    assert!(read("flake.nix").contains(&format!("inputs.nixpkgs.url = \"github:{url}\";")), "{url}");
    assert_eq!(at(&lock, "nodes.root.inputs"), &serde_json::json!({ "nixpkgs": "nixpkgs" }));
    assert_eq!((text(locked, "owner"), text(locked, "repo")), (text(original, "owner"), text(original, "repo")));
    assert_eq!(text(locked, "rev").len(), 40);
    assert!(text(locked, "narHash").starts_with("sha256-"));
    // An input that the lock does not know would have to be fetched, which --offline forbids.
    let other = tempfile::tempdir().unwrap();
    copy(other.path());
    let changed =
        read("flake.nix").replace("inputs.nixpkgs.url", "inputs.other.url = \"github:a/b\";\n  inputs.nixpkgs.url");
    fs::write(other.path().join("flake.nix"), changed).unwrap();
    assert!(flake(other.path(), &["flake", "show", "--json"], "").is_err());
}

#[test]
fn the_program_is_built_from_cargo_lock_alone() {
    // The stand-in refuses arguments that nixpkgs does not know, and git dependencies, whose hashes are not known.
    let given = value("packages.x86_64-linux.mesh-six.given.cargoBuildFlags");
    assert_eq!(given, serde_json::json!(["--package", "mesh-six"]));
    assert!(!read("Cargo.lock").contains("source = \"git+"));
    let version = value("packages.x86_64-linux.mesh-six.version");
    assert_eq!(version, env!("CARGO_PKG_VERSION"));
}

#[test]
fn the_check_of_the_tests_has_what_they_call_and_leaves_out_what_wants_root() {
    let given = value("checks.x86_64-linux.tests.given.buildPhase");
    let skipped: Vec<&str> = given.as_str().unwrap().split("--skip ").skip(1).map(str::trim_end).collect();
    let skipped: Vec<&str> = skipped.iter().filter_map(|rest| rest.split_whitespace().next()).collect();
    let files = ["tests/acceptance/start_and_stop.rs", "crates/db/tests/it/faults/disk.rs"].map(read);
    for name in &skipped {
        assert!(files.iter().any(|file| file.contains(&format!("fn {name}("))), "{name} is no test any more");
    }
    // Each test begins with its attribute; a namespace of mounts is root's.
    for test in files[0].split("#[").filter(|test| test.contains("Command::new(\"unshare\")")) {
        assert!(skipped.iter().any(|name| test.contains(&format!("fn {name}("))), "not left out: {test}");
    }
    let expression = "inputs: map (input: input.name) inputs";
    let attribute = "#checks.x86_64-linux.tests.given.nativeBuildInputs";
    let names = flake(&COPY, &["eval", "--json", "--apply", expression], attribute).unwrap();
    for program in ["mosquitto", "postgresql", "procps", "prometheus"] {
        assert!(names.contains(program), "{program}: {names}");
    }
}

#[test]
fn d_1_sixteen_images_of_one_program() {
    let expression = "images: builtins.mapAttrs (_: p: { inherit (p.given) name tag config; \
                      contents = map (c: c.name) p.given.contents; }) images";
    let all = flake(
        &COPY,
        &[
            "eval",
            "--json",
            "--apply",
            &format!(
                "p: ({expression}) (builtins.listToAttrs (builtins.filter (i: \
            builtins.match \"image-.*\" i.name != null) (map (name: {{ inherit name; value = p.${{name}}; }}) \
            (builtins.attrNames p))))"
            ),
        ],
        "#packages.x86_64-linux",
    );
    let all: Value = serde_json::from_str(&all.unwrap()).unwrap();
    assert_eq!(all.as_object().unwrap().len(), 16);
    let mut faults = Vec::new();
    for (output, image) in all.as_object().unwrap() {
        let service = output.strip_prefix("image-").unwrap();
        let expected = [
            (text(image, "name") == format!("mesh-six/{service}"), "name"),
            (list(image, "config.Cmd") == ["serve", service], "Cmd"),
            (text(image, "config.User") == "65532:65532", "User"),
            (list(image, "contents") == ["mesh-six", "ca-certificates"], "contents"),
        ];
        faults.extend(expected.iter().filter(|(holds, _)| !holds).map(|(_, what)| format!("{output}: {what}")));
    }
    assert_none(&faults);
    insta::assert_json_snapshot!("image_of_the_orchestrator", all["image-orchestrator"]);
}
