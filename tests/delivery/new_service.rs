//! A service more is one entry of services.toml and one folder of at most ten lines: image, objects and checks follow.

use std::{fs, path::Path};

use serde_json::{Value, json};

use crate::{
    evaluated::{expression, flake},
    support::{at, copy, documents, faults, kustomize, text},
};

/// What is typed for one: its kind, port, and files.
struct New {
    name: &'static str,
    kind: &'static str,
    port: u16,
    kustomization: &'static str,
}

const NEW: [New; 3] = [
    New {
        name: "weather-agent",
        kind: "agent",
        port: 3000,
        kustomization: "resources: [deployment.yaml]\ncomponents: [../../components/agent]\n",
    },
    New {
        name: "audit-logger",
        kind: "infrastructure",
        port: 3000,
        kustomization: "resources: [deployment.yaml]\ncomponents: [../../components/dapr]\n",
    },
    New {
        name: "status-page",
        kind: "ui",
        port: 8080,
        kustomization: "resources: [deployment.yaml]\ncomponents: [../../components/service]\npatches:\n  - target: {kind: \
                        Deployment}\n    patch: |-\n      - {op: replace, path: \
                        /spec/template/spec/containers/0/ports/0/containerPort, value: 8080}\n",
    },
];

impl New {
    /// Adds it to a copy of the repository. Gives how many lines of YAML that were.
    fn add(&self, repository: &Path, local_port: usize) -> usize {
        let table = repository.join("services.toml");
        let agent = self.kind == "agent";
        let capabilities = if agent { "capabilities = [{ name = \"weather\", weight = 0.8 }]\n" } else { "" };
        let entry = format!(
            "\n[[service]]\nname = \"{}\"\ntitle = \"New\"\npurpose = \"is new\"\nkind = \"{}\"\nbuilt = true\nport = {}\n\
             local_port = {local_port}\n{capabilities}",
            self.name, self.kind, self.port
        );
        fs::write(&table, fs::read_to_string(&table).unwrap() + &entry).unwrap();
        let folder = repository.join("k8s/base").join(self.name);
        let deployment = format!("apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: {}}}\n", self.name);
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("deployment.yaml"), &deployment).unwrap();
        fs::write(folder.join("kustomization.yaml"), self.kustomization).unwrap();
        let base = repository.join("k8s/base/kustomization.yaml");
        let listed = fs::read_to_string(&base).unwrap().replacen(
            "  - orchestrator\n",
            &format!("  - orchestrator\n  - {}\n", self.name),
            1,
        );
        fs::write(&base, listed).unwrap();
        deployment.lines().count() + self.kustomization.lines().count() + 1
    }
}

#[test]
fn one_entry_and_one_folder_are_all_that_a_service_more_needs() {
    let folder = tempfile::tempdir().unwrap();
    copy(folder.path());
    for (number, new) in NEW.iter().enumerate() {
        let lines = new.add(folder.path(), 7_700 + number);
        assert!(lines <= 10, "{}: {lines} lines", new.name);
    }
    let outputs = flake(folder.path(), &["eval", "--json", "--apply", "builtins.attrNames"], "#packages.aarch64-linux");
    let outputs: Value = serde_json::from_str(&outputs.unwrap()).unwrap();
    let specs = expression(folder.path(), "import ./nix/services.nix { }").unwrap();
    let rendered = kustomize(&folder.path().join("k8s/overlays/prod"));
    assert_eq!(faults(&rendered), Vec::<String>::new());
    let objects = documents(&rendered);
    let object = |kind: &str, name: &str| {
        let found = objects.iter().find(|o| o["kind"] == kind && o["metadata"]["name"] == name);
        found.unwrap_or_else(|| panic!("{name} has no {kind}"))
    };
    for New { name, port, kind, .. } in &NEW {
        assert!(outputs.as_array().unwrap().contains(&json!(format!("image-{name}"))), "{outputs}");
        assert_eq!(specs[name]["cmd"], json!(["serve", name]));
        assert_eq!(specs[name]["environment"]["APP_PORT"], port.to_string());
        let template = at(object("Deployment", name), "spec.template");
        assert_eq!(text(template, "spec.containers.0.image"), format!("mesh-six/{name}:unpushed"));
        assert_eq!(at(template, "spec.containers.0.ports.0.containerPort"), *port);
        let app_id = template["metadata"]["annotations"]["dapr.io/app-id"].as_str();
        assert_eq!(app_id, (*kind != "ui").then_some(*name));
        assert_eq!(at(object("Service", name), "spec.selector.app"), name);
        assert_eq!(at(object("PodDisruptionBudget", name), "spec.selector.matchLabels.app"), name);
    }
}

#[test]
fn entries_and_folders_that_do_not_fit_fail_the_evaluation_with_one_line() {
    let told = |change: fn(&Path)| {
        let folder = tempfile::tempdir().unwrap();
        copy(folder.path());
        NEW[0].add(folder.path(), 7_700);
        change(folder.path());
        let words = expression(folder.path(), "import ./nix/services.nix { }").unwrap_err();
        words.lines().find_map(|line| line.strip_prefix("error: ")).unwrap_or(&words).to_owned()
    };
    let faults = [
        told(|repository| fs::remove_dir_all(repository.join("k8s/base/weather-agent")).unwrap()),
        told(|repository| {
            let table = repository.join("services.toml");
            let text = fs::read_to_string(&table).unwrap();
            fs::write(&table, text.replace("name = \"weather-agent\"", "name = \"whether-agent\"")).unwrap();
        }),
        told(|repository| {
            let table = repository.join("services.toml");
            let text = fs::read_to_string(&table).unwrap();
            fs::write(&table, text.split("\n[[service]]\nname = \"weather-agent\"").next().unwrap()).unwrap();
        }),
        told(|repository| {
            let base = repository.join("k8s/base/kustomization.yaml");
            let text = fs::read_to_string(&base).unwrap();
            fs::write(&base, text.replace("  - weather-agent\n", "")).unwrap();
        }),
    ];
    insta::assert_snapshot!(faults.join("\n"));
}
