//! Asking servers over HTTP whether they are ready.

use std::{sync::OnceLock, time::Duration};

use reqwest::Client;

const ANSWER: Duration = Duration::from_secs(2);

/// A client that follows no proxy of the environment.
pub(crate) fn client() -> &'static Client {
    static CLIENT: OnceLock<Client> = OnceLock::new();
    CLIENT.get_or_init(|| {
        // It wants a provider even where no TLS is spoken.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let builder = Client::builder().no_proxy().tls_certs_only([]).pool_max_idle_per_host(0);
        builder.build().unwrap_or_else(|error| panic!("cannot make an HTTP client: {error}"))
    })
}

/// The status that a GET is answered with; `None` if there is no answer within two seconds.
pub async fn status(url: &str) -> Option<u16> {
    let answer = client().get(url).timeout(ANSWER).send().await;
    answer.ok().map(|answer| answer.status().as_u16())
}
