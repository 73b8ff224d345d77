//! Ports for servers that are stopped and started again on the same one.

use std::{collections::BTreeSet, net::TcpListener, ops::Range, sync::Mutex};

use anyhow::{Result, bail};

/// Below what systems give to outgoing connections (from 32768 on Linux), one of which could otherwise sit on a
/// server's port while the server is down; above what other programs are known for.
const RANGE: Range<u16> = 20_000..32_000;
const TRIES: u32 = 1_000;

/// Ports that this process has given away.
static GIVEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());

/// A port on 127.0.0.1 that is free now and that nobody else in this process gets.
pub fn server_port() -> Result<u16> {
    let mut given = GIVEN.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    for _ in 0..TRIES {
        let port = fastrand::u16(RANGE);
        if !given.contains(&port) && TcpListener::bind(("127.0.0.1", port)).is_ok() {
            given.insert(port);
            return Ok(port);
        }
    }
    bail!("no port from {} to {} is free", RANGE.start, RANGE.end)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may panic")]

    use super::*;

    #[test]
    fn no_port_is_given_twice() {
        let ports: BTreeSet<u16> = (0..100).map(|_| server_port().unwrap()).collect();
        assert_eq!(ports.len(), 100);
        assert!(ports.iter().all(|port| RANGE.contains(port)));
    }
}
