//! The components of `k8s/base/dapr`, made usable on this machine.
//!
//! There is one copy of each. Replaced are the hosts and the secrets, which the manifests do not hold; added are app-ids
//! that only tests know. What comes out is JSON, which is YAML too.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use super::password::write_private;

/// The one copy.
const MANIFESTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../k8s/base/dapr");

/// Where things are for one sidecar.
#[derive(Clone, Debug, Default)]
pub struct Surroundings {
    /// `amqp://user:password@host:port`.
    pub broker_url: String,
    /// `host:port`.
    pub redis_address: String,
    /// What Redis wants to hear first.
    pub redis_password: String,
    /// `host:port` of a receiver of traces (OTLP over HTTP); without one none are sent.
    pub otlp: Option<String>,
    /// An app-id beside the service that it is another one of: it gets that service's components.
    pub also: Vec<(String, String)>,
}

/// What a sidecar is pointed to.
#[derive(Clone, Debug)]
pub struct Rendered {
    /// For `--resources-path`: components and resiliency.
    pub resources: PathBuf,
    /// For `--config`.
    pub configuration: PathBuf,
    /// The names of the components.
    pub components: Vec<String>,
}

/// Writes the manifests into `folder`, for one sidecar. A manifest that holds something unheard of is an error.
pub fn render(surroundings: &Surroundings, folder: &Path) -> Result<Rendered> {
    let resources = folder.join("resources");
    fs::create_dir_all(&resources).with_context(|| format!("cannot make {}", resources.display()))?;
    let mut rendered = Rendered { resources, configuration: folder.join("configuration.yaml"), components: vec![] };
    for file in manifests()? {
        let name = file.file_name().unwrap_or_default();
        let shown = file.display();
        let text = fs::read_to_string(&file).with_context(|| format!("cannot read {shown}"))?;
        let mut manifest: Value = serde_saphyr::from_str(&text).with_context(|| format!("{shown} is no YAML"))?;
        let to = match manifest["kind"].as_str() {
            Some("Component") => {
                component(&mut manifest, surroundings).with_context(|| shown.to_string())?;
                rendered.components.push(manifest["metadata"]["name"].as_str().unwrap_or_default().to_owned());
                rendered.resources.join(name)
            }
            Some("Resiliency") => rendered.resources.join(name),
            Some("Configuration") => {
                configuration(&mut manifest, surroundings.otlp.as_deref());
                rendered.configuration.clone()
            }
            kind => bail!("{shown} is a {kind:?}, which nobody knows how to render"),
        };
        write_private(&to, &serde_json::to_string_pretty(&manifest)?)?;
    }
    Ok(rendered)
}

fn manifests() -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(MANIFESTS).with_context(|| format!("cannot read {MANIFESTS}"))?;
    let mut files = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    files.retain(|file| file.file_name().is_some_and(|name| name != "kustomization.yaml"));
    files.sort();
    Ok(files)
}

fn component(manifest: &mut Value, surroundings: &Surroundings) -> Result<()> {
    for item in manifest["spec"]["metadata"].as_array_mut().context("it has no spec.metadata")? {
        let name = item["name"].as_str().context("an entry of spec.metadata has no name")?.to_owned();
        let value = if name == "redisHost" {
            &surroundings.redis_address
        } else if let Some(reference) = item.get("secretKeyRef") {
            match (reference["name"].as_str(), reference["key"].as_str()) {
                (Some("rabbitmq-secret"), Some("url")) => &surroundings.broker_url,
                (Some("redis-secret"), Some("password")) => &surroundings.redis_password,
                _ => bail!("{name} comes from {reference}, which nobody knows here"),
            }
        } else {
            continue;
        };
        *item = json!({ "name": name, "value": value });
    }
    if let Some(scopes) = manifest.get_mut("scopes").and_then(Value::as_array_mut) {
        for (app_id, service) in &surroundings.also {
            if scopes.iter().any(|scope| scope == service) && !scopes.iter().any(|scope| scope == app_id) {
                scopes.push(json!(app_id));
            }
        }
    }
    Ok(())
}

fn configuration(manifest: &mut Value, otlp: Option<&str>) {
    let tracing = &mut manifest["spec"]["tracing"];
    match otlp {
        Some(address) => tracing["otel"]["endpointAddress"] = json!(address),
        None => {
            if let Some(tracing) = tracing.as_object_mut() {
                tracing.remove("otel");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may panic")]

    use super::*;

    fn read(file: &Path) -> Value {
        serde_json::from_slice(&fs::read(file).unwrap()).unwrap()
    }

    #[test]
    fn hosts_and_secrets_are_replaced_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let surroundings = Surroundings {
            broker_url: "amqp://u:p@h:1".to_owned(),
            redis_address: "h:2".to_owned(),
            redis_password: "hunter2".to_owned(),
            otlp: Some("h:3".to_owned()),
            also: vec![("simple-agent-b".to_owned(), "simple-agent".to_owned())],
        };
        let rendered = render(&surroundings, folder.path()).unwrap();
        let count = rendered.components.len();
        assert!(count >= 6, "{rendered:?}");
        let mut changed = Vec::new();
        for file in manifests().unwrap() {
            let name = file.file_name().unwrap();
            let before: Value = serde_saphyr::from_str(&fs::read_to_string(&file).unwrap()).unwrap();
            let after = if before["kind"] == "Configuration" {
                read(&rendered.configuration)
            } else {
                read(&rendered.resources.join(name))
            };
            assert_eq!((&before["metadata"], &before["spec"]["type"]), (&after["metadata"], &after["spec"]["type"]));
            let (Some(old), Some(new)) = (before["spec"]["metadata"].as_array(), after["spec"]["metadata"].as_array())
            else {
                continue;
            };
            assert_eq!(old.len(), new.len());
            changed.extend(old.iter().zip(new).filter(|(old, new)| old != new).map(|(_, new)| new.clone()));
            // As in the manifest: a number or a switch without quotes is another thing to Dapr.
            assert!(new.iter().all(|item| item["value"].is_string()), "{new:?}");
        }
        let pubsub = json!({ "name": "connectionString", "value": "amqp://u:p@h:1" });
        let host = json!({ "name": "redisHost", "value": "h:2" });
        let password = json!({ "name": "redisPassword", "value": "hunter2" });
        assert_eq!(changed.len(), count - 1 + 2);
        assert!(changed.iter().all(|item| [&pubsub, &host, &password].contains(&item)), "{changed:?}");
        let scopes = &read(&rendered.resources.join("agent-pubsub.yaml"))["scopes"];
        assert!(scopes.as_array().unwrap().contains(&json!("simple-agent-b")));
        assert_eq!(read(&rendered.resources.join("events-dead.yaml"))["scopes"], json!(["event-logger"]));
        assert_eq!(read(&rendered.configuration)["spec"]["tracing"]["otel"]["endpointAddress"], "h:3");
    }

    #[test]
    fn an_unknown_secret_is_an_error() {
        let mut manifest = json!({ "spec": { "metadata": [
            { "name": "key", "secretKeyRef": { "name": "other-secret", "key": "url" } },
        ] } });
        let error = component(&mut manifest, &Surroundings::default()).unwrap_err().to_string();
        assert!(error.starts_with("key comes from") && error.contains("other-secret"), "{error}");
    }
}
