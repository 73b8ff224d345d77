//! The VM test, which cannot run here: its parts are checked one by one.

use std::{collections::BTreeSet, fs, path::Path, process::Command};

use serde_json::{Value, json};

use crate::{
    evaluated::{COPY, expression, flake, value},
    manifests::{OBJECTS, PROD},
    support::{assert_none, documents, faults, kustomize, list, python, read, root, run, text, tool},
};

const MACHINE: &str = "checks.x86_64-linux.vm.given.machine";

/// The script with the names that the driver puts into its module.
pub(crate) fn script() -> String {
    "from driver import machine, start_all, subtest, t\n".to_owned() + &read("nix/tests/vm.py")
}

#[test]
fn the_script_is_right_for_the_driver() {
    let folder = tempfile::tempdir().unwrap();
    let script_file = folder.path().join("vm.py");
    fs::write(&script_file, script()).unwrap();
    run(python().args(["-m", "pyflakes"]).arg(&script_file), "");
    let mut mypy = python();
    mypy.args(["-m", "mypy", "--strict", "--no-error-summary", "--cache-dir"]).arg(folder.path().join("cache"));
    run(mypy.env("MYPYPATH", root().join("tests/delivery/stubs")).arg(&script_file), "");
}

#[test]
fn the_machine_has_only_options_that_exist() {
    // The stand-in for runNixOSTest refuses the others.
    let machine = value(&format!("{MACHINE}.virtualisation"));
    assert_eq!(machine, json!({ "cores": 4, "diskSize": 20480, "memorySize": 6144 }));
    assert_eq!(value("checks.x86_64-linux.vm.given.name"), "mesh-six");
    assert_eq!(value(&format!("{MACHINE}.k3s.disable")), json!(["metrics-server", "servicelb", "traefik"]));
    // k3s links an image by its derivation's name: two of one name would be one.
    let attribute = format!("#{MACHINE}.k3s.images");
    let names = flake(&COPY, &["eval", "--json", "--apply", "map (image: image.name)"], &attribute).unwrap();
    let names: Vec<String> = serde_json::from_str(&names).unwrap();
    assert_eq!(names.len(), names.iter().collect::<BTreeSet<_>>().len(), "{names:?}");
    for image in ["k3s-airgap-images", "daprd.tar.gz", "operator.tar.gz", "orchestrator.tar.gz"] {
        assert!(names.iter().any(|name| name == image), "{image} is not preloaded: {names:?}");
    }
}

#[test]
fn daprs_chart_knows_the_values() {
    let values: Value = serde_json::from_str(&read("k8s/dapr-values.json")).unwrap();
    assert_eq!(value(&format!("{MACHINE}.k3s.autoDeployCharts.dapr.values")), values);
    let chart = |file: &str| documents(&fs::read_to_string(tool("dapr-chart").join(file)).unwrap()).remove(0);
    let mut problems = Vec::new();
    for (part, given) in values.as_object().unwrap() {
        let known =
            if part == "global" { chart("values.yaml")["global"].clone() } else { chart(&format!("{part}.yaml")) };
        unknown(given, &known, part, &mut problems);
    }
    assert_none(&problems);
}

/// Fields of `given` that `known` does not have.
fn unknown(given: &Value, known: &Value, path: &str, problems: &mut Vec<String>) {
    for (name, field) in given.as_object().into_iter().flatten() {
        match known.get(name) {
            None => problems.push(format!("{path}.{name} is no value of the chart")),
            Some(deeper) => unknown(field, deeper, &format!("{path}.{name}"), problems),
        }
    }
}

#[test]
fn the_cluster_has_what_the_overlay_wants() {
    let cluster = expression(&COPY, r#"import ./nix/tests/cluster.nix { address = "192.168.1.1"; }"#).unwrap();
    let items: Vec<String> = list(&cluster, "items").iter().map(Value::to_string).collect();
    assert_none(&faults(&items.join("\n---\n")));
    let secrets = |objects: &[Value]| -> BTreeSet<(String, String)> {
        let secrets = objects.iter().filter(|o| o["kind"] == "Secret");
        let keys = secrets.flat_map(|s| {
            s["stringData"].as_object().unwrap().keys().map(|key| (text(s, "metadata.name").to_owned(), key.clone()))
        });
        keys.collect()
    };
    let example = documents(&read("k8s/secrets.example.yaml"));
    let needed: BTreeSet<_> = secrets(&example)
        .into_iter()
        .filter(|(name, _)| !["mqtt-secret", "registry-secret"].contains(&name.as_str()))
        .collect();
    assert_eq!(secrets(list(&cluster, "items")), needed);
    // The names of the example's addresses, and the overlay's own, are names of this cluster.
    let host = |service: &Value| {
        let (name, namespace) = (text(service, "metadata.name"), text(service, "metadata.namespace"));
        format!("{name}.{namespace}.svc.cluster.local:{}", service["spec"]["ports"][0]["port"])
    };
    let addresses = read("k8s/secrets.example.yaml") + &PROD;
    for service in list(&cluster, "items").iter().filter(|o| o["kind"] == "Service") {
        assert!(addresses.contains(&host(service)), "nothing refers to {}", host(service));
    }
}

#[test]
fn what_is_applied_is_the_prod_overlay_with_its_own_images() {
    let overlay = "import ./nix/tests/overlay.nix { services = import ./nix/services.nix { }; tag = \"abc1234\"; }";
    let overlay = expression(&COPY, overlay).unwrap();
    let folder = tempfile::tempdir().unwrap();
    run(Command::new("cp").arg("-r").arg(root().join("k8s")).arg(folder.path()), "");
    let k8s = folder.path().join("k8s/overlays");
    let component = json!({
        "apiVersion": "kustomize.config.k8s.io/v1alpha1", "kind": "Component", "images": overlay["images"],
    });
    fs::write(k8s.join("prod/images/kustomization.yaml"), component.to_string()).unwrap();
    fs::create_dir(k8s.join("vm")).unwrap();
    fs::write(k8s.join("vm/kustomization.yaml"), overlay["overlays"]["vm"].to_string()).unwrap();
    let rendered = kustomize(&k8s.join("vm"));
    let registry = "registry.example.com/mesh-six/";
    let expected = PROD.replace(registry, "mesh-six/").replace(":unpushed", ":abc1234");
    let differs: Vec<&str> =
        rendered.lines().filter(|line| !expected.lines().any(|other| other == *line)).map(str::trim).collect();
    assert!(differs.iter().all(|line| line.contains("settings-") || line.starts_with("LLM_OFFLINE")), "{differs:?}");
    assert_eq!(documents(&rendered).len(), OBJECTS.len());
    phases(&rendered, folder.path());
}

/// Argo CD's phases, parted.
fn phases(rendered: &str, folder: &Path) {
    let file = folder.join("vm.yaml");
    fs::write(&file, rendered).unwrap();
    run(Command::new("bash").arg(root().join("nix/tests/phases.sh")).arg(&file).arg(folder), "");
    let names = |phase: &str| -> Vec<String> {
        let text_of = fs::read_to_string(folder.join(format!("{phase}.yaml"))).unwrap();
        documents(&text_of).iter().map(|o| text(o, "metadata.name").to_owned()).collect()
    };
    assert_eq!((names("presync"), names("postsync")), (vec!["migrate".to_owned()], vec!["verify".to_owned()]));
    assert_eq!(names("sync").len(), OBJECTS.len() - 2);
}

#[test]
fn an_image_that_is_not_preloaded_fails_the_evaluation() {
    let evaluate = |render: &str| {
        let render = serde_json::to_string(render).unwrap();
        expression(
            &COPY,
            &format!(
                "import ./nix/tests/preloaded.nix {{ services = import ./nix/services.nix {{ }}; render = {render}; }}"
            ),
        )
    };
    let ours = "\n      - image: mesh-six/simple-agent:1\n        image: r.example/x/mesh-six/event-logger@sha256:0\n";
    assert_eq!(evaluate(ours).unwrap(), json!(["event-logger", "simple-agent"]));
    let foreign = evaluate(&format!("{ours}        image: busybox:1\n        image: mesh-six/dashboard:1\n"));
    let words = foreign.unwrap_err();
    assert!(words.contains("no image is preloaded for: busybox:1, mesh-six/dashboard:1"), "{words}");
}
