//! Turns services.toml into the table that [`roster`](src/roster.rs) includes.

#[path = "build/table.rs"]
mod table;

use std::{env, error::Error, fmt::Write, fs, path::PathBuf};

use table::Service;

fn main() -> Result<(), Box<dyn Error>> {
    let path = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?).join("../../services.toml");
    println!("cargo::rerun-if-changed={}", path.display());
    println!("cargo::rerun-if-changed=build");
    match table::read(&fs::read_to_string(path)?) {
        Ok(services) => fs::write(PathBuf::from(env::var("OUT_DIR")?).join("roster.rs"), source(&services)?)?,
        Err(problem) => println!("cargo::error={problem}"),
    }
    Ok(())
}

/// The table in Rust.
fn source(services: &[Service]) -> Result<String, std::fmt::Error> {
    let mut out =
        String::from("/// The services, in the order of services.toml.\npub const SERVICES: &[Service] = &[\n");
    for s in services {
        writeln!(
            out,
            "Service {{ name: {:?}, title: {:?}, purpose: {:?}, kind: Kind::{:?}, built: {}, port: {}, \
             local_port: {}, capabilities: &[{}], subscribes: &{:?}, environment: &{:?} }},",
            s.name,
            s.title,
            s.purpose,
            s.kind,
            s.built,
            s.port,
            s.local_port,
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
    Ok(out)
}
