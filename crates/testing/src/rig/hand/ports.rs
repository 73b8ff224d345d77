//! Where the parts of a rig by hand are reached from this machine.

use anyhow::{Context, Result};
use mesh_six_core::roster;

use crate::rig::{POSTGRESQL, RABBITMQ, REDIS, RigSpec};

/// The port that clients of the mesh try by themselves.
pub const FRONT_DOOR: u16 = 7600;
/// A sidecar's API is so far above its service.
const SIDECAR: u16 = 100;
const SERVERS: [(&str, u16); 3] = [(POSTGRESQL, 7601), (RABBITMQ, 7602), (REDIS, 7603)];

/// Each part that is reached from outside, and its port when the front door has `front`.
pub(super) fn outside(spec: &RigSpec, front: u16) -> Result<Vec<(String, u16)>> {
    let mut ports: Vec<(String, u16)> = SERVERS.iter().map(|(name, port)| ((*name).to_owned(), *port)).collect();
    for instance in &spec.instances {
        let service = roster::find(&instance.service);
        let port = service.with_context(|| format!("there is no service {}", instance.service))?.local_port;
        ports.push((instance.name.clone(), port));
        ports.push((format!("{}.daprd", instance.name), port + SIDECAR));
    }
    let moved = |port: u16| {
        let port = i32::from(port) - i32::from(FRONT_DOOR) + i32::from(front);
        u16::try_from(port).with_context(|| format!("--port {front} leaves no room for the others"))
    };
    ports.into_iter().map(|(name, port)| Ok((name, moved(port)?))).collect()
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may panic")]

    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_two_parts_share_a_port_and_all_move_with_the_front_door() {
        let spec = RigSpec::all("mesh-six");
        let usual = outside(&spec, FRONT_DOOR).unwrap();
        let different: BTreeSet<u16> = usual.iter().map(|(_, port)| *port).chain([FRONT_DOOR]).collect();
        assert_eq!(different.len(), usual.len() + 1);
        let moved = outside(&spec, FRONT_DOOR + 1_000).unwrap();
        assert!(usual.iter().zip(&moved).all(|(a, b)| a.0 == b.0 && a.1 + 1_000 == b.1));
        assert!(outside(&spec, 65_535).is_err());
    }
}
