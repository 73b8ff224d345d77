//! TLS to the server, as libpq's `sslmode` and `sslrootcert` ask for it; with rustls and ring.

mod stream;

use std::sync::Arc;

use mesh_six_core::ApiError;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature},
    pki_types::{
        CertificateDer, ServerName, UnixTime,
        pem::{self, PemObject},
    },
};

pub(crate) use self::stream::{Connector, Stream};

/// What is asked of the server's certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trust {
    /// Nothing: whoever listens cannot read, but whoever sits in between can.
    Anyone,
    /// It leads to a trusted root, whatever its name.
    Chain,
    /// It leads to a trusted root and names the host.
    ChainAndName,
}

/// A connector that asks `trust` of the server. Roots come from the PEM file `roots`, else from the system.
pub(crate) fn connector(trust: Trust, roots: Option<&str>) -> Result<Connector, ApiError> {
    let provider = Arc::new(ring::default_provider());
    let chain = match trust {
        Trust::Anyone => None,
        Trust::Chain | Trust::ChainAndName => {
            let roots = Arc::new(root_store(roots)?);
            let verifier = WebPkiServerVerifier::builder_with_provider(roots, provider.clone()).build();
            Some(verifier.map_err(|error| wrong(format!("the roots cannot be used: {error}")))?)
        }
    };
    let config = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|error| ApiError::unhandled(error.to_string()))?;
    let config = match chain {
        Some(chain) if trust == Trust::ChainAndName => config.with_webpki_verifier(chain),
        chain => config.dangerous().with_custom_certificate_verifier(Arc::new(AnyName { provider, chain })),
    };
    let mut config = config.with_no_client_auth();
    // Without this a server that is spoken to by TLS from the first byte (`sslnegotiation=direct`) refuses.
    config.alpn_protocols = vec![b"postgresql".to_vec()];
    Ok(Connector::new(config))
}

fn root_store(file: Option<&str>) -> Result<RootCertStore, ApiError> {
    let mut roots = RootCertStore::empty();
    if let Some(file) = file {
        let unreadable = |error: pem::Error| match error {
            pem::Error::Io(error) => wrong(format!("cannot read {file}: {error}")),
            other => wrong(format!("cannot read {file}: {other}")),
        };
        for certificate in CertificateDer::pem_file_iter(file).map_err(unreadable)? {
            let added = roots.add(certificate.map_err(unreadable)?);
            added.map_err(|error| wrong(format!("cannot use {file}: {error}")))?;
        }
    } else {
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    }
    if roots.is_empty() {
        let found = file.map_or_else(
            || "this system has no root certificates; name a file".to_owned(),
            |file| format!("{file} holds no certificate"),
        );
        return Err(wrong(found));
    }
    Ok(roots)
}

fn wrong(message: impl std::fmt::Display) -> ApiError {
    ApiError::validation("DATABASE_URL", format!("sslrootcert: {message}"))
}

/// Takes a certificate whatever it is called, and without `chain` any at all. That the server holds the
/// certificate's key is checked in either case.
#[derive(Debug)]
struct AnyName {
    provider: Arc<CryptoProvider>,
    chain: Option<Arc<WebPkiServerVerifier>>,
}

impl ServerCertVerifier for AnyName {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let Some(chain) = &self.chain else { return Ok(ServerCertVerified::assertion()) };
        // The name is the last thing that is looked at.
        match chain.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now) {
            Err(Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => Ok(ServerCertVerified::assertion()),
            verified => verified,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
