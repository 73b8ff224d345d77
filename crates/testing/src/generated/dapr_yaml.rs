//! `dapr.yaml` at the top level, for people who start sidecars with the Dapr CLI (`dapr run -f .`).

use std::fmt::Write;

use mesh_six_core::roster;

/// A sidecar's API is so far above its service.
const SIDECAR: u16 = 100;

const HEAD: &str = "\
# Made from services.toml by `cargo xtask generate`; a test compares.
# For the Dapr CLI, beside the servers of a rig:
#   cargo build && cargo xtask rig up --servers
#   eval \"$(cargo xtask rig env)\"     # DATABASE_URL, the tokens, and MESH_SIX_DAPR, where the components are
#   ln -sfn \"$MESH_SIX_DAPR\" target/dapr && dapr run -f .
version: 1
common:
  resourcesPaths: [./target/dapr/resources]
  configFilePath: ./target/dapr/configuration.yaml
  env:
    APP_HOST: 127.0.0.1
    # Or LITELLM_BASE_URL and LLM_MODEL.
    LLM_OFFLINE: \"true\"
apps:
";

/// The whole file.
pub(super) fn dapr_yaml() -> String {
    let mut text = HEAD.to_owned();
    for service in roster::SERVICES.iter().filter(|service| service.built && service.has_sidecar()) {
        let (name, port) = (service.name, service.local_port);
        // Writing into a text cannot fail.
        let _ = write!(
            text,
            "  - appID: {name}\n    appDirPath: .\n    appPort: {port}\n    daprHTTPPort: {}\n    \
             command: [target/debug/mesh-six, serve, {name}]\n    env:\n      AGENT_ID: {name}\n      APP_PORT: \"{port}\"\n",
            port + SIDECAR,
        );
    }
    text
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may panic")]

    use super::*;

    #[test]
    fn the_committed_file_is_up_to_date() {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../dapr.yaml");
        let committed = std::fs::read_to_string(file).unwrap();
        assert_eq!(committed, dapr_yaml(), "make it anew with: cargo xtask generate");
        let parsed: serde_json::Value = serde_saphyr::from_str(&committed).unwrap();
        let apps = parsed["apps"].as_array().unwrap();
        assert!(apps.len() >= 3 && apps.iter().all(|app| app["appPort"].is_u64()), "{parsed}");
        assert_eq!(parsed["common"]["env"]["LLM_OFFLINE"], "true");
    }
}
