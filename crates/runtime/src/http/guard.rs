//! Checks of Host and Origin for a listener on loopback.
//!
//! A web page may point a name of its own at 127.0.0.1 (DNS rebinding) or post forms across origins;
//! a local service without a token must answer neither.

use axum::http::{HeaderMap, header};
use mesh_six_core::{ApiError, ErrorType};

const LOCAL: [&str; 3] = ["localhost", "127.0.0.1", "[::1]"];

/// Refuses a request whose Host is not this machine, or whose Origin is another. A request without Host comes from
/// this process or a tool: browsers always send one.
pub(super) fn check(headers: &HeaderMap) -> Result<(), ApiError> {
    let Some(host) = headers.get(header::HOST) else {
        return if headers.contains_key(header::ORIGIN) { Err(refuse("origin")) } else { Ok(()) };
    };
    let host = host.to_str().unwrap_or_default();
    if !is_local(host) {
        return Err(refuse("host"));
    }
    match headers.get(header::ORIGIN) {
        None => Ok(()),
        Some(origin) => {
            let same = origin.to_str().ok().and_then(|o| o.strip_prefix("http://"));
            if same.is_some_and(|o| o.eq_ignore_ascii_case(host)) { Ok(()) } else { Err(refuse("origin")) }
        }
    }
}

fn is_local(host: &str) -> bool {
    LOCAL.iter().any(|name| match host.get(..name.len()) {
        Some(start) if start.eq_ignore_ascii_case(name) => {
            let port = &host[name.len()..];
            port.is_empty() || port.strip_prefix(':').is_some_and(|p| p.parse::<u16>().is_ok())
        }
        _ => false,
    })
}

fn refuse(field: &str) -> ApiError {
    ApiError {
        field: Some(field.to_owned()),
        ..ApiError::new(
            ErrorType::Permission,
            "this address is for programs on this machine: Host must be localhost, 127.0.0.1 or [::1], \
             Origin absent or the same",
        )
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test that cannot go on should fail there")]
mod tests {
    use super::*;

    fn ask(host: Option<&str>, origin: Option<&str>) -> Option<String> {
        let mut headers = HeaderMap::new();
        if let Some(host) = host {
            headers.insert(header::HOST, host.parse().unwrap());
        }
        if let Some(origin) = origin {
            headers.insert(header::ORIGIN, origin.parse().unwrap());
        }
        check(&headers).err().and_then(|e| e.field)
    }

    #[test]
    fn only_this_machine_may_be_named() {
        for good in ["localhost", "LOCALHOST:7600", "127.0.0.1:1", "[::1]:7600", "[::1]"] {
            assert_eq!(ask(Some(good), None), None, "{good}");
        }
        for bad in ["evil.example", "localhost.evil.example", "localhost:x", "127.0.0.1.nip.io:80", "", "::1", "lo"] {
            assert_eq!(ask(Some(bad), None).as_deref(), Some("host"), "{bad}");
        }
    }

    #[test]
    fn an_origin_must_be_the_same() {
        assert_eq!(ask(Some("localhost:7600"), Some("http://localhost:7600")), None);
        for bad in ["http://localhost:1", "https://localhost:7600", "null", "http://evil.example"] {
            assert_eq!(ask(Some("localhost:7600"), Some(bad)).as_deref(), Some("origin"), "{bad}");
        }
        assert_eq!(ask(None, None), None);
        assert_eq!(ask(None, Some("http://evil.example")).as_deref(), Some("origin"));
    }
}
