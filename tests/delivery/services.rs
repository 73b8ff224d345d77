//! services.toml, the images' specs and the command line say the same; a bad entry is one line of Nix too.

use std::{fs, process::Command};

use mesh_six_core::roster::SERVICES;

use crate::{
    evaluated::{COPY, expression, services},
    support::{BINARY, assert_none, list, output, read},
};

#[test]
fn the_specs_are_those_of_the_table() {
    let specs = services();
    assert_eq!(specs.as_object().unwrap().len(), SERVICES.len());
    for service in SERVICES {
        let spec = &specs[service.name];
        assert_eq!(spec["built"], service.built, "{}", service.name);
        assert_eq!(spec["port"], service.port);
        assert_eq!(spec["environment"]["APP_PORT"], service.port.to_string());
    }
    insta::assert_json_snapshot!(specs);
}

#[test]
fn the_program_accepts_the_command_of_each_image() {
    let specs = services();
    let loopback = [("APP_HOST", "127.0.0.1"), ("APP_PORT", "0")];
    let mut faults = Vec::new();
    for service in SERVICES {
        let args: Vec<&str> = list(&specs[service.name], "cmd").iter().filter_map(|arg| arg.as_str()).collect();
        let words = output(Command::new(BINARY).args(&args).env_clear().envs(loopback), "").unwrap_err();
        // A built one asks for its settings, another one says that it is not built.
        let known = if service.built { "needs DATABASE_URL" } else { "is not built yet" };
        let model = "LITELLM_BASE_URL is not set";
        if !(words.contains(known) || service.built && words.contains(model)) {
            faults.push(format!("{}: {words}", args.join(" ")));
        }
    }
    assert_none(&faults);
}

#[test]
fn a_bad_entry_fails_the_evaluation_with_one_line() {
    let table = read("services.toml");
    let folder = tempfile::tempdir().unwrap();
    let fault = |from: &str, to: &str| {
        assert!(table.contains(from), "{from}");
        let bad = folder.path().join("services.toml");
        fs::write(&bad, table.replacen(from, to, 1)).unwrap();
        let read = format!("builtins.fromTOML (builtins.readFile {})", bad.display());
        let words = expression(&COPY, &format!("import ./nix/services.nix {{ table = {read}; }}")).unwrap_err();
        words.lines().find_map(|line| line.strip_prefix("error: ")).unwrap_or(&words).to_owned()
    };
    let faults = [
        fault("port = 3000\n", ""),
        fault("built = true", "built = 1"),
        fault("kind = \"agent\"", "kind = \"robot\""),
        fault("name = \"simple-agent\"", "name = \"orchestrator\""),
        fault("name = \"simple-agent\"", "name = \"Simple Agent\""),
        fault("local_port = 7611", "local_port = 7610"),
    ];
    insta::assert_snapshot!(faults.join("\n"));
}
