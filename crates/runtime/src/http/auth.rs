//! Who may call: the bearer token, and on which addresses a service may listen without one.

use std::net::SocketAddr;

use axum::http::{HeaderMap, header};
use mesh_six_core::{ApiError, ErrorType};

use super::guard;
use crate::{config::CommonConfig, secret::Secret};

/// The service would be open to the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0} is not a loopback address: set API_TOKEN (callers then send it as bearer token), \
     or ALLOW_ANONYMOUS=true to serve anybody who can reach it"
)]
pub struct ListenerRefused(pub SocketAddr);

/// Whether a service may listen on `address`: on loopback always, elsewhere only with a token or explicitly without.
pub fn listener_policy(
    address: SocketAddr,
    token: Option<&Secret>,
    allow_anonymous: bool,
) -> Result<(), ListenerRefused> {
    let open = address.ip().is_loopback() || token.is_some() || allow_anonymous;
    if open { Ok(()) } else { Err(ListenerRefused(address)) }
}

/// What a service checks of each request.
#[derive(Clone, Debug, Default)]
pub struct Auth {
    token: Option<Secret>,
    sidecar_token: Option<Secret>,
    loopback: bool,
}

impl Auth {
    /// Checks nothing: for routers that are only called from within the process, or stand behind another shell.
    pub fn internal() -> Self {
        Self::default()
    }

    /// The checks for a listener on `address`, or a refusal to listen there. A token is asked for where one is set;
    /// a request with the sidecar's token passes too, since the sidecar is trusted with deliveries already.
    pub fn for_listener(
        address: SocketAddr,
        token: Option<Secret>,
        sidecar_token: Option<Secret>,
        allow_anonymous: bool,
    ) -> Result<Self, ListenerRefused> {
        listener_policy(address, token.as_ref(), allow_anonymous)?;
        Ok(Self { token, sidecar_token, loopback: address.ip().is_loopback() })
    }

    /// The checks that `config` asks for on `address`, the one that its listener really has.
    pub fn from_config(config: &CommonConfig, address: SocketAddr) -> Result<Self, ListenerRefused> {
        Self::for_listener(address, config.api_token.clone(), config.app_api_token.clone(), config.allow_anonymous)
    }

    /// Host and Origin, on loopback.
    pub(super) fn check_origin(&self, headers: &HeaderMap) -> Result<(), ApiError> {
        if self.loopback { guard::check(headers) } else { Ok(()) }
    }

    /// The token.
    pub(super) fn check_token(&self, headers: &HeaderMap) -> Result<(), ApiError> {
        let Some(token) = &self.token else { return Ok(()) };
        let bearer = headers.get(header::AUTHORIZATION).and_then(|v| bearer(v.as_bytes()));
        let sidecar = headers.get("dapr-api-token").map(axum::http::HeaderValue::as_bytes);
        if bearer.is_some_and(|given| token.matches(given)) {
            return Ok(());
        }
        if let (Some(expected), Some(given)) = (&self.sidecar_token, sidecar)
            && expected.matches(given)
        {
            return Ok(());
        }
        let message = if bearer.is_some() {
            "the bearer token is wrong"
        } else {
            "a bearer token is needed: send Authorization: Bearer <API_TOKEN>"
        };
        Err(ApiError::new(ErrorType::Unauthorized, message))
    }
}

/// What follows the scheme, which is not case-sensitive.
fn bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = value.split_at_checked(7)?;
    scheme.eq_ignore_ascii_case(b"bearer ").then(|| token.trim_ascii())
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test that cannot go on should fail there")]
mod tests {
    use super::*;

    fn listen(address: &str, token: Option<&str>, anonymous: bool) -> Result<Auth, ListenerRefused> {
        Auth::for_listener(address.parse().unwrap(), token.map(Secret::new), Some("from-dapr".into()), anonymous)
    }

    #[test]
    fn an_open_listener_wants_a_token_or_an_explicit_yes() {
        insta::assert_snapshot!(
            listen("0.0.0.0:3000", None, false).unwrap_err(),
            @"0.0.0.0:3000 is not a loopback address: set API_TOKEN (callers then send it as bearer token), or ALLOW_ANONYMOUS=true to serve anybody who can reach it"
        );
        listen("[::]:3000", None, false).unwrap_err();
        listen("0.0.0.0:3000", Some("t"), false).unwrap();
        listen("0.0.0.0:3000", None, true).unwrap();
        listen("127.0.0.1:3000", None, false).unwrap();
        listen("[::1]:3000", None, false).unwrap();
    }

    #[test]
    fn the_right_token_in_either_header_passes() {
        let auth = listen("0.0.0.0:1", Some("right"), false).unwrap();
        let ask = |name: &'static str, value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(name, value.parse().unwrap());
            auth.check_token(&headers).is_ok()
        };
        assert!(ask("authorization", "Bearer right") && ask("authorization", "bearer  right "));
        assert!(ask("dapr-api-token", "from-dapr"));
        for bad in ["Bearer wrong", "Bearer", "Bearer ", "Basic right", "right", "Bearer rightx"] {
            assert!(!ask("authorization", bad), "{bad}");
        }
        assert!(!ask("dapr-api-token", "right"));
    }
}
