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

/// Every `secretKeyRef` inside a value.
fn referred(value: &Value, into: &mut Secrets) {
    match value {
        Value::Object(fields) => {
            if let Some(reference) = fields.get("secretKeyRef") {
                let key = text(reference, "key").to_owned();
                into.entry(text(reference, "name").to_owned()).or_default().insert(key);
            }
            if let Some(Value::String(name)) = fields.get("dapr.io/app-token-secret") {
                into.entry(name.clone()).or_default().insert("token".to_owned());
            }
            fields.values().for_each(|field| referred(field, into));
        }
        Value::Array(items) => items.iter().for_each(|item| referred(item, into)),
        _ => {}
    }
}

#[test]
fn d_2_every_secret_is_in_the_example_and_among_the_external_ones() {
    let mut wanted = Secrets::new();
    OBJECTS.iter().for_each(|object| referred(object, &mut wanted));
    assert!(wanted.len() >= 6, "{wanted:?}");
    let example: Secrets = documents(&read("k8s/secrets.example.yaml"))
        .iter()
        .map(|secret| {
            let keys = secret["stringData"].as_object().unwrap().keys().cloned().collect();
            (text(secret, "metadata.name").to_owned(), keys)
        })
        .collect();
    assert_eq!(wanted, example);
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
    assert_eq!(wanted, external);
    assert!(OBJECTS.iter().all(|object| object["kind"] != "Secret"), "no secret is ever synced");
}

#[test]
fn accounts_settings_and_variables_exist() {
    let mut known: BTreeSet<&str> = mesh_six_runtime::config::VARIABLES.iter().map(|v| v.name).collect();
    known.extend(mesh_six_orchestrator::VARIABLES.iter().map(|v| v.name));
    // The command line's own.
    known.insert("MESH_SIX_URL");
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
    assert_eq!(commands, ["events seal --json", "migrate", "partitions --ensure 3"]);
}

#[test]
fn the_ingress_leads_to_services() {
    for rule in OBJECTS.iter().filter(|o| o["kind"] == "Ingress").flat_map(|ingress| list(ingress, "spec.rules")) {
        for path in list(rule, "http.paths") {
            assert!(object("Service", text(path, "backend.service.name")).is_some(), "{path}");
        }
    }
}
