//! `mesh-six services`: the roster of services.toml.

use std::process::ExitCode;

use mesh_six_core::roster::{Kind, SERVICES};
use serde_json::json;

use crate::{cli::Output, output};

/// Prints all sixteen, and which of them this version has.
pub(crate) fn run(out: Output) -> anyhow::Result<ExitCode> {
    if out.json {
        for s in SERVICES {
            let capabilities: Vec<_> = s.capabilities.iter().map(|c| c.name).collect();
            output::json(&json!({
                "name": s.name, "title": s.title, "purpose": s.purpose, "kind": kind(s.kind), "built": s.built,
                "port": s.port, "localPort": s.local_port, "sidecar": s.has_sidecar(), "capabilities": capabilities, "subscribes": s.subscribes,
            }))?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    let rows = SERVICES
        .iter()
        .map(|s| {
            let built = if s.built { "yes" } else { "not yet" };
            vec![s.name.to_owned(), kind(s.kind).to_owned(), built.to_owned(), s.purpose.to_owned()]
        })
        .collect();
    output::table::print(&["SERVICE", "KIND", "BUILT", "PURPOSE"], rows)?;
    Ok(ExitCode::SUCCESS)
}

fn kind(kind: Kind) -> &'static str {
    match kind {
        Kind::Agent => "agent",
        Kind::Infrastructure => "infrastructure",
        Kind::Ui => "ui",
        Kind::Command => "command",
    }
}
