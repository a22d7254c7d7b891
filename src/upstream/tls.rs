//! TLS towards targets: what a service says about it, made into a rustls configuration once a generation.
//!
//! Reads no files and knows no diagnostics: texts come in, and an error says which of them is at fault. Two services with
//! the same settings share connections, two with different ones never do, since [`Tls`] is part of the pool's key.

use std::fmt;
use std::io;
use std::sync::{Arc, OnceLock};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// What is asked of TLS connections; files by their text.
#[derive(Clone, PartialEq, Eq)]
pub struct TlsSettings {
    /// The authorities, PEM; the system's when absent.
    pub ca: Option<String>,
    pub verify: bool,
    /// The target's host when absent.
    pub server_name: Option<String>,
    /// The certificate chain and key to show, PEM.
    pub client: Option<(String, String)>,
    /// Whether HTTP/2 is to be negotiated, instead of HTTP/1.1.
    pub http2: bool,
}

/// TLS settings, checked and ready; clones share them.
#[derive(Clone)]
pub struct Tls {
    settings: Arc<TlsSettings>,
    config: Arc<ClientConfig>,
    pub(super) server_name: Option<ServerName<'static>>,
}

/// Why settings can't be used.
#[derive(Debug, thiserror::Error)]
pub enum BadTls {
    #[error("it holds no usable certificate: {0}")]
    Ca(String),
    #[error("it holds no usable certificate: {0}")]
    ClientCertificate(String),
    #[error("it holds no usable private key: {0}")]
    ClientKey(String),
    #[error("it is not a name that a certificate can have")]
    ServerName,
    #[error("the system has no certificate authorities that could be read")]
    SystemRoots,
    #[error("{0}")]
    Rustls(#[source] rustls::Error),
}

/// The authorities that the system trusts, read when they are first needed: it takes milliseconds.
#[derive(Debug, Default)]
pub struct SystemRoots(OnceLock<Arc<RootCertStore>>);

impl SystemRoots {
    fn get(&self) -> Result<Arc<RootCertStore>, BadTls> {
        let roots = self.0.get_or_init(|| {
            let mut roots = RootCertStore::empty();
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            Arc::new(roots)
        });
        if roots.is_empty() { Err(BadTls::SystemRoots) } else { Ok(roots.clone()) }
    }
}

impl Tls {
    /// # Errors
    /// Which of the settings can't be used.
    pub fn new(settings: TlsSettings, system: &SystemRoots) -> Result<Tls, BadTls> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider.clone());
        let builder = builder.with_safe_default_protocol_versions().map_err(BadTls::Rustls)?;
        let builder = match &settings {
            TlsSettings { verify: false, .. } => {
                builder.dangerous().with_custom_certificate_verifier(Arc::new(Unverified(provider)))
            }
            TlsSettings { ca: Some(pem), .. } => builder.with_root_certificates(authorities(pem)?),
            TlsSettings { ca: None, .. } => builder.with_root_certificates(system.get()?),
        };
        let mut config = match &settings.client {
            None => builder.with_no_client_auth(),
            Some((chain, key)) => {
                let chain = certificates(chain).map_err(BadTls::ClientCertificate)?;
                let key = PrivateKeyDer::from_pem_slice(key.as_bytes());
                let key = key.map_err(|error| BadTls::ClientKey(error.to_string()))?;
                let built = builder.with_client_auth_cert(chain, key);
                built.map_err(|error| BadTls::ClientKey(error.to_string()))?
            }
        };
        config.alpn_protocols = vec![if settings.http2 { b"h2".to_vec() } else { b"http/1.1".to_vec() }];
        let server_name = settings.server_name.clone().map(ServerName::try_from).transpose();
        let server_name = server_name.map_err(|_| BadTls::ServerName)?;
        Ok(Tls { settings: Arc::new(settings), config: Arc::new(config), server_name })
    }

    /// The handshake. Where HTTP/2 was asked for, it must have been agreed upon (RFC 9113 §3.2).
    pub(super) async fn connect(
        &self,
        name: &ServerName<'static>,
        stream: TcpStream,
    ) -> io::Result<TlsStream<TcpStream>> {
        let stream = TlsConnector::from(self.config.clone()).connect(name.clone(), stream).await?;
        if self.settings.http2 && stream.get_ref().1.alpn_protocol() != Some(b"h2") {
            return Err(io::Error::other("the target does not negotiate HTTP/2"));
        }
        Ok(stream)
    }
}

impl PartialEq for Tls {
    /// By what was asked for, so that a reload that changes nothing keeps connections.
    fn eq(&self, other: &Tls) -> bool {
        Arc::ptr_eq(&self.settings, &other.settings) || self.settings == other.settings
    }
}

impl Eq for Tls {}

impl fmt::Debug for Tls {
    /// SECURITY: the settings hold a private key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("verify", &self.settings.verify).field("server_name", &self.server_name).finish()
    }
}

fn certificates(pem: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
    match found {
        Ok(none) if none.is_empty() => Err("there is none in it".to_owned()),
        Ok(found) => Ok(found),
        Err(error) => Err(error.to_string()),
    }
}

fn authorities(pem: &str) -> Result<RootCertStore, BadTls> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(pem).map_err(BadTls::Ca)? {
        roots.add(certificate).map_err(|error| BadTls::Ca(error.to_string()))?;
    }
    Ok(roots)
}

/// Takes any certificate, for `verify: false`. Signatures are checked all the same: they prove that the peer has the
/// key of what it shows.
#[derive(Debug)]
struct Unverified(Arc<CryptoProvider>);

impl ServerCertVerifier for Unverified {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
