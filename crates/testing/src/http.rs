//! A client for the servers that tests start.

/// An HTTP client; TLS needs its provider even where none is spoken.
pub(crate) fn client() -> reqwest::Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::new()
}
