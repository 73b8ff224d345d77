//! What a new service needs in `k8s/base`: a folder of two files, and its name in the list.

use anyhow::{Result, bail};
use mesh_six_core::roster::Kind;

/// The line of `k8s/base/kustomization.yaml` after which the services stand, as its last resources.
const MARK: &str = "  # The services that services.toml calls built.\n";

/// The files of a service's folder: what services of its kind share, and nothing of its own.
///
/// # Errors
/// A kind that shares too little.
pub fn folder(name: &str, kind: Kind) -> Result<[(&'static str, String); 2]> {
    let component = match kind {
        Kind::Agent => "agent",
        Kind::Infrastructure => "dapr",
        Kind::Ui | Kind::Command => bail!(
            "k8s/base/{name} must be written by hand: a service without a sidecar says itself what it needs beside \
             k8s/components/service"
        ),
    };
    Ok([
        ("deployment.yaml", format!("apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: {name}}}\n")),
        ("kustomization.yaml", format!("resources: [deployment.yaml]\ncomponents: [../../components/{component}]\n")),
    ])
}

/// The list of the base with just these services in it.
///
/// # Errors
/// A text without the line after which they stand.
pub fn with_services<'a>(list: &str, services: impl Iterator<Item = &'a str>) -> Result<String> {
    let Some((head, rest)) = list.split_once(MARK) else {
        bail!("k8s/base/kustomization.yaml has no line {:?}", MARK.trim());
    };
    let after: String = rest.split_inclusive('\n').skip_while(|line| line.starts_with("  - ")).collect();
    let named: Vec<String> = services.map(|name| format!("  - {name}\n")).collect();
    Ok(format!("{head}{MARK}{}{after}", named.concat()))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may panic")]

    use mesh_six_core::roster::SERVICES;

    use super::*;

    const BASE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../k8s/base");

    #[test]
    fn the_committed_list_and_an_agents_folder_are_as_they_would_be_made() {
        let committed = std::fs::read_to_string(format!("{BASE}/kustomization.yaml")).unwrap();
        let built = SERVICES.iter().filter(|service| service.built).map(|service| service.name);
        assert_eq!(with_services(&committed, built).unwrap(), committed, "make it anew with: cargo xtask generate");
        for (file, text) in folder("simple-agent", Kind::Agent).unwrap() {
            assert_eq!(std::fs::read_to_string(format!("{BASE}/simple-agent/{file}")).unwrap(), text, "{file}");
        }
    }

    #[test]
    fn services_come_and_go_and_the_rest_of_the_list_stays() {
        let list = format!("resources:\n  - dapr\n{MARK}  - a\n  - b\n# What else.\nimages: []\n");
        let changed = with_services(&list, ["b", "c"].into_iter()).unwrap();
        assert_eq!(changed, format!("resources:\n  - dapr\n{MARK}  - b\n  - c\n# What else.\nimages: []\n"));
        assert_eq!(with_services(&changed, ["a", "b"].into_iter()).unwrap(), list);
        assert!(with_services("resources: []\n", ["a"].into_iter()).is_err());
    }

    #[test]
    fn what_has_no_sidecar_is_written_by_hand() {
        assert!(folder("dashboard", Kind::Ui).unwrap_err().to_string().starts_with("k8s/base/dashboard must be"));
    }
}
