//! Certificates of a generation: read, held against their keys, and chosen by the name that a client asks for.
//!
//! Everything that can be wrong with them is a diagnostic at the place in `gateway.yaml` that names the file. Handshakes are
//! made elsewhere; nothing here touches a socket.

use super::files::Files;
use crate::config::{
    CertificateFiles, ClientAuth, Diagnostic, Diagnostics, Listener, Source, Spanned, Tls, TlsVersion,
};
use rustls::{
    RootCertStore, ServerConfig,
    crypto::{CryptoProvider, aws_lc_rs},
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::{ClientHello, ResolvesServerCert, WebPkiClientVerifier, danger::ClientCertVerifier},
    sign::CertifiedKey,
};
use std::{collections::HashMap, path::PathBuf, sync::Arc};

/// What ALPN (RFC 7301) offers, the best first.
const PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// The configuration of each listener in their order; none for plain text. What is wrong goes into `diagnostics`.
pub fn configurations(
    listeners: &[Listener],
    files: &Files,
    diagnostics: &mut Diagnostics,
) -> Vec<Option<Arc<ServerConfig>>> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut made = Vec::with_capacity(listeners.len());
    for listener in listeners {
        made.push(listener.tls.as_ref().and_then(|tls| configuration(tls, &provider, files, diagnostics)));
    }
    made
}

fn configuration(
    tls: &Tls,
    provider: &Arc<CryptoProvider>,
    files: &Files,
    diagnostics: &mut Diagnostics,
) -> Option<Arc<ServerConfig>> {
    let mut certificates = Certificates::default();
    for pair in &tls.certificates {
        match certified(pair, provider, files) {
            Ok(certified) => certificates.add(Arc::new(certified)),
            Err(diagnostic) => diagnostics.push(*diagnostic),
        }
    }
    let verifier = match &tls.client_auth {
        None => WebPkiClientVerifier::no_client_auth(),
        Some(auth) => match verifier(auth, provider, files) {
            Ok(verifier) => verifier,
            Err(diagnostic) => {
                diagnostics.push(*diagnostic);
                return None;
            }
        },
    };
    certificates.first.as_ref()?;
    let versions: &[&rustls::SupportedProtocolVersion] = match tls.min_version {
        TlsVersion::V1_2 => &[&rustls::version::TLS13, &rustls::version::TLS12],
        TlsVersion::V1_3 => &[&rustls::version::TLS13],
    };
    let built =
        ServerConfig::builder_with_provider(provider.clone()).with_protocol_versions(versions).and_then(|builder| {
            let mut config = builder.with_client_cert_verifier(verifier).with_cert_resolver(Arc::new(certificates));
            config.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).to_vec();
            // Tickets instead of the cache of sessions, whose lock all workers would share. Their keys end with the generation, so
            // that nobody comes back by a ticket of client certificates that are asked for no more.
            config.ticketer = aws_lc_rs::Ticketer::new()?;
            Ok(Arc::new(config))
        });
    match built {
        Ok(config) => Some(config),
        Err(error) => {
            diagnostics.push(Diagnostic::error(&tls.span, format!("TLS can't be set up: {error}")));
            None
        }
    }
}

/// Boxed: a diagnostic is large, and rare.
type Wrong = Box<Diagnostic>;

fn wrong(file: &Spanned<PathBuf>, why: impl std::fmt::Display) -> Wrong {
    let name = file.span.quote(file.span.text().trim_matches(['"', '\'']));
    Box::new(Diagnostic::error(&file.span, format!("{name} can't be used: {why}")))
}

fn certified(pair: &CertificateFiles, provider: &CryptoProvider, files: &Files) -> Result<CertifiedKey, Wrong> {
    let chain = certificates(&pair.cert, files)?;
    let text = read(&pair.key, files)?;
    let key = PrivateKeyDer::from_pem_slice(text.text().as_bytes()).map_err(|error| match error {
        rustls::pki_types::pem::Error::NoItemsFound => wrong(&pair.key, "there is no private key in it"),
        _ => wrong(&pair.key, "it is not valid PEM"),
    })?;
    if let Err(why) = x509_parser::parse_x509_certificate(&chain[0]) {
        return Err(wrong(&pair.cert, format!("its first certificate can't be read ({why})")));
    }
    CertifiedKey::from_der(chain, key, provider).map_err(|error| match error {
        rustls::Error::InconsistentKeys(_) => Box::new(
            wrong(&pair.key, "it is not the key of this certificate").related(&pair.cert.span, "the certificate"),
        ),
        error => wrong(&pair.key, error),
    })
}

fn verifier(
    auth: &ClientAuth,
    provider: &Arc<CryptoProvider>,
    files: &Files,
) -> Result<Arc<dyn ClientCertVerifier>, Wrong> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(&auth.ca, files)? {
        roots.add(certificate).map_err(|error| wrong(&auth.ca, error))?;
    }
    let mut builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone());
    if !auth.required {
        builder = builder.allow_unauthenticated();
    }
    builder.build().map_err(|error| wrong(&auth.ca, error))
}

/// At least one.
fn certificates(file: &Spanned<PathBuf>, files: &Files) -> Result<Vec<CertificateDer<'static>>, Wrong> {
    let text = read(file, files)?;
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text.text().as_bytes()).collect();
    match all {
        Ok(all) if all.is_empty() => Err(wrong(file, "there is no certificate in it")),
        Ok(all) => Ok(all),
        Err(_) => Err(wrong(file, "it is not valid PEM")),
    }
}

fn read(file: &Spanned<PathBuf>, files: &Files) -> Result<Arc<Source>, Wrong> {
    files.read(file).map_err(|missing| wrong(file, missing))
}

/// The certificates of a listener by the names they hold.
#[derive(Debug, Default)]
struct Certificates {
    exact: HashMap<String, Arc<CertifiedKey>>,
    /// By what stands behind `*.`.
    wildcard: HashMap<String, Arc<CertifiedKey>>,
    first: Option<Arc<CertifiedKey>>,
}

impl Certificates {
    /// Of two that hold one name the earlier serves it.
    fn add(&mut self, certified: Arc<CertifiedKey>) {
        for name in names(&certified) {
            let (map, name) = match name.strip_prefix("*.") {
                Some(parent) => (&mut self.wildcard, parent.to_owned()),
                None => (&mut self.exact, name),
            };
            map.entry(name).or_insert_with(|| certified.clone());
        }
        self.first.get_or_insert(certified);
    }

    fn find(&self, name: &str) -> Option<&Arc<CertifiedKey>> {
        let name = name.trim_end_matches('.').to_ascii_lowercase();
        // A wildcard stands for one label (RFC 6125 §6.4.3).
        let wildcard = || self.wildcard.get(name.split_once('.')?.1);
        self.exact.get(&name).or_else(wildcard)
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        hello.server_name().and_then(|name| self.find(name)).or(self.first.as_ref()).cloned()
    }
}

/// The names of hosts in a certificate's SANs, in lower case. The common name counts no more (RFC 9110 §4.3.4).
fn names(certified: &CertifiedKey) -> Vec<String> {
    let Some((_, certificate)) = certified.cert.first().and_then(|der| x509_parser::parse_x509_certificate(der).ok())
    else {
        return Vec::new();
    };
    let Ok(Some(names)) = certificate.subject_alternative_name() else { return Vec::new() };
    let dns = names.value.general_names.iter().filter_map(|name| match name {
        x509_parser::extensions::GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
        _ => None,
    });
    dns.collect()
}
