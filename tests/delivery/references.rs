//! What the manifests refer to exists: secrets, accounts, settings, components, commands.

use std::{
    collections::{BTreeMap, BTreeSet},
    process::Command,
};

use mesh_six_core::roster::SERVICES;
use serde_json::Value;

use crate::{
    manifests::{OBJECTS, object, pod},
    support::{BINARY, assert_none, documents, kustomize, list, output, read, root, text},
};

/// Keys by secret.
type Secrets = BTreeMap<String, BTreeSet<String>>;

/// Every secret that a value refers to: what must be there, and what may be.
#[derive(Default)]
struct Referred {
    required: Secrets,
    optional: Secrets,
}

impl Referred {
    fn add(&mut self, value: &Value) {
        match value {
            Value::Object(fields) => {
                if let Some(reference) = fields.get("secretKeyRef") {
                    let into = if reference["optional"] == true { &mut self.optional } else { &mut self.required };
                    let key = text(reference, "key").to_owned();
                    into.entry(text(reference, "name").to_owned()).or_default().insert(key);
                }
                if let Some(Value::String(name)) = fields.get("dapr.io/app-token-secret") {
                    self.required.entry(name.clone()).or_default().insert("token".to_owned());
                }
                // A pod whose pull secret is missing pulls without it.
                for secret in fields.get("imagePullSecrets").and_then(Value::as_array).into_iter().flatten() {
                    let keys = self.optional.entry(text(secret, "name").to_owned()).or_default();
                    keys.insert(".dockerconfigjson".to_owned());
                }
                fields.values().for_each(|field| self.add(field));
            }
            Value::Array(items) => items.iter().for_each(|item| self.add(item)),
            _ => {}
        }
    }
}

#[test]
fn d_2_every_secret_is_in_the_example_and_among_the_external_ones() {
    let mut wanted = Referred::default();
    OBJECTS.iter().for_each(|object| wanted.add(object));
    let Referred { required, optional } = wanted;
    assert!(required.len() >= 6 && optional.len() >= 2, "{required:?} {optional:?}");
    let example: Secrets = documents(&read("k8s/secrets.example.yaml"))
        .iter()
        .map(|secret| {
            let keys = secret["stringData"].as_object().unwrap().keys().cloned().collect();
            (text(secret, "metadata.name").to_owned(), keys)
        })
        .collect();
    let all: Secrets = required.clone().into_iter().chain(optional).collect();
    assert_eq!(all, example);
    let external: Secrets = documents(&kustomize(&root().join("k8s/external-secrets")))
        .iter()
        .map(|secret| {
            assert_eq!(
                (&secret["apiVersion"], &secret["kind"]),
                (&"external-secrets.io/v1".into(), &"ExternalSecret".into())
            );
            let keys = list(secret, "spec.data").iter().map(|entry| text(entry, "secretKey").to_owned()).collect();
            (text(secret, "metadata.name").to_owned(), keys)
        })
        .collect();
    assert_eq!(required, external);
    assert!(OBJECTS.iter().all(|object| object["kind"] != "Secret"), "no secret is ever synced");
}

#[test]
fn accounts_settings_and_variables_exist() {
    let mut known: BTreeSet<&str> = mesh_six_runtime::config::VARIABLES.iter().map(|v| v.name).collect();
    known.extend(mesh_six_orchestrator::VARIABLES.iter().map(|v| v.name));
    // The command line's own.
    known.extend(["MESH_SIX_URL", "MESH_SIX_EVENTS_URL"]);
    for service in SERVICES {
        known.extend(service.environment);
    }
    let mut problems = Vec::new();
    for (object_, template) in OBJECTS.iter().filter_map(|object| Some((object, pod(object)?))) {
        let name = text(object_, "metadata.name");
        if let Some(account) = template["spec"]["serviceAccountName"].as_str()
            && object("ServiceAccount", account).is_none()
        {
            problems.push(format!("{name}: there is no ServiceAccount {account}"));
        }
        for container in list(template, "spec.containers") {
            let mut names: Vec<&str> = list(container, "env").iter().map(|v| text(v, "name")).collect();
            for source in list(container, "envFrom") {
                let map = text(source, "configMapRef.name");
                match object("ConfigMap", map) {
                    Some(map) => names.extend(map["data"].as_object().unwrap().keys().map(String::as_str)),
                    None => problems.push(format!("{name}: there is no ConfigMap {map}")),
                }
            }
            let unknown = names.iter().filter(|variable| !known.contains(*variable));
            problems.extend(unknown.map(|variable| format!("{name}: nothing reads {variable}")));
        }
    }
    for binding in OBJECTS.iter().filter(|o| o["kind"].as_str().is_some_and(|kind| kind.ends_with("RoleBinding"))) {
        for subject in list(binding, "subjects") {
            if object("ServiceAccount", text(subject, "name")).is_none() {
                problems.push(format!("{}: {} does not exist", text(binding, "metadata.name"), subject["name"]));
            }
        }
    }
    assert_none(&problems);
}

#[test]
fn m1_7_components_scopes_policies_and_configuration_fit_together() {
    let apps: BTreeSet<&str> = SERVICES.iter().filter(|s| s.has_sidecar()).map(|s| s.name).collect();
    let mut problems = Vec::new();
    let components: BTreeSet<&str> =
        OBJECTS.iter().filter(|o| o["kind"] == "Component").map(|o| text(o, "metadata.name")).collect();
    assert!(components.contains("agent-pubsub") && components.contains("agent-statestore"), "{components:?}");
    for component in OBJECTS.iter().filter(|o| o["kind"] == "Component") {
        let name = text(component, "metadata.name");
        let scopes: BTreeSet<&str> = list(component, "scopes").iter().filter_map(Value::as_str).collect();
        if scopes.is_empty() {
            problems.push(format!("{name} has no scopes"));
        }
        problems.extend(scopes.difference(&apps).map(|app| format!("{name}: {app} has no sidecar")));
    }
    for resiliency in OBJECTS.iter().filter(|o| o["kind"] == "Resiliency") {
        let targets = &resiliency["spec"]["targets"];
        for app in targets["apps"].as_object().unwrap().keys().filter(|app| !apps.contains(app.as_str())) {
            problems.push(format!("resiliency: there is no app {app}"));
        }
        for component in targets["components"].as_object().unwrap().keys() {
            if !components.contains(component.as_str()) {
                problems.push(format!("resiliency: there is no component {component}"));
            }
        }
    }
    for (path, name) in OBJECTS.iter().filter(|o| o["kind"] == "Resiliency").flat_map(policies_named) {
        problems.push(format!("resiliency: {path} names {name}, which is no policy"));
    }
    for template in OBJECTS.iter().filter_map(pod) {
        if let Some(name) = template["metadata"]["annotations"]["dapr.io/config"].as_str()
            && object("Configuration", name).is_none()
        {
            problems.push(format!("there is no Configuration {name}"));
        }
    }
    for policy in OBJECTS
        .iter()
        .filter(|o| o["kind"] == "Configuration")
        .flat_map(|configuration| list(configuration, "spec.accessControl.policies"))
    {
        if !apps.contains(text(policy, "appId")) || policy["namespace"] != "mesh-six" {
            problems.push(format!("access control: {} in {}", policy["appId"], policy["namespace"]));
        }
    }
    assert_none(&problems);
}

/// The policies that a Resiliency's targets name and that it does not have, with where they stand.
fn policies_named(resiliency: &Value) -> Vec<(String, String)> {
    let (policies, targets) = (&resiliency["spec"]["policies"], &resiliency["spec"]["targets"]);
    let mut places: Vec<(String, &Value)> = Vec::new();
    for (app, target) in targets["apps"].as_object().into_iter().flatten() {
        places.push((app.clone(), target));
    }
    for (component, target) in targets["components"].as_object().into_iter().flatten() {
        places.extend(["inbound", "outbound"].map(|way| (format!("{component}.{way}"), &target[way])));
    }
    let kinds = [("timeout", "timeouts"), ("retry", "retries"), ("circuitBreaker", "circuitBreakers")];
    let named = places.iter().flat_map(|(place, target)| {
        kinds.iter().filter_map(move |(field, kind)| Some((place, *kind, target[*field].as_str()?)))
    });
    let missing = named.filter(|(_, kind, name)| policies[*kind][*name].is_null());
    missing.map(|(place, _, name)| (place.clone(), name.to_owned())).collect()
}

#[test]
fn the_program_accepts_the_command_of_each_job() {
    let mut commands = Vec::new();
    for object in OBJECTS.iter().filter(|o| o["kind"] == "Job" || o["kind"] == "CronJob") {
        let container = &pod(object).unwrap()["spec"]["containers"][0];
        let args: Vec<&str> = list(container, "args").iter().filter_map(Value::as_str).collect();
        // Asking for help comes after all arguments were understood.
        if let Err(words) = output(Command::new(BINARY).args(&args).arg("--help").env_clear(), "") {
            panic!("{}: {words}", text(object, "metadata.name"));
        }
        commands.push(args.join(" "));
    }
    commands.sort();
    let verify = commands.pop().unwrap();
    assert!(verify.starts_with("verify --cluster --json --require M1.1,"), "{verify}");
    assert_eq!(commands, ["events seal --json", "migrate", "partitions --ensure 3"]);
}
