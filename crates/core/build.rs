//! Turns services.toml into the table that [`roster`](src/roster.rs) includes.

use std::{env, fmt::Write, fs, path::PathBuf};

use serde::Deserialize;

#[derive(Deserialize)]
struct File {
    service: Vec<Service>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Service {
    name: String,
    title: String,
    purpose: String,
    kind: String,
    built: bool,
    port: Option<u16>,
    #[serde(default)]
    capabilities: Vec<Capability>,
    #[serde(default)]
    subscribes: Vec<String>,
    #[serde(default)]
    environment: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Capability {
    name: String,
    weight: f64,
    #[serde(default)]
    preferred: bool,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let table = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?).join("../../services.toml");
    println!("cargo::rerun-if-changed={}", table.display());
    let file: File = toml::from_str(&fs::read_to_string(table)?)?;
    let mut out =
        String::from("/// The services, in the order of services.toml.\npub const SERVICES: &[Service] = &[\n");
    for s in &file.service {
        let kind = match s.kind.as_str() {
            "agent" => "Kind::Agent",
            "infrastructure" => "Kind::Infrastructure",
            "ui" => "Kind::Ui",
            "command" => "Kind::Command",
            other => return Err(format!("services.toml: {}: unknown kind {other:?}", s.name).into()),
        };
        writeln!(
            out,
            "Service {{ name: {:?}, title: {:?}, purpose: {:?}, kind: {kind}, built: {}, port: {:?}, \
             capabilities: &[{}], subscribes: &{:?}, environment: &{:?} }},",
            s.name,
            s.title,
            s.purpose,
            s.built,
            s.port,
            s.capabilities
                .iter()
                .map(|c| format!(
                    "Capability {{ name: {:?}, weight: {:?}, preferred: {} }}",
                    c.name, c.weight, c.preferred
                ))
                .collect::<Vec<_>>()
                .join(", "),
            s.subscribes,
            s.environment,
        )?;
    }
    out.push_str("];\n");
    fs::write(PathBuf::from(env::var("OUT_DIR")?).join("roster.rs"), out)?;
    Ok(())
}
