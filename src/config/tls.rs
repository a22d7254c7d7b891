//! `tls` of a listener: where its certificates are and what it asks of clients.
//!
//! Paths only, joined to the folder of the file: the certificates are read, and held against their keys, when a generation
//! is built.

use std::path::{Path, PathBuf};

use super::diagnostic::Diagnostics;
use super::keys;
use super::node::Node;
use super::source::{Span, Spanned};
use super::table::{Table, mismatch};

/// How a listener speaks TLS.
#[derive(Clone, Debug)]
pub struct Tls {
    /// Never empty; the first is for clients that name no host, or one that no certificate has.
    pub certificates: Vec<CertificateFiles>,
    pub min_version: TlsVersion,
    pub client_auth: Option<ClientAuth>,
    pub span: Span,
}

/// A certificate with its chain, and its private key: two PEM files, or one with both.
#[derive(Clone, Debug)]
pub struct CertificateFiles {
    pub cert: Spanned<PathBuf>,
    pub key: Spanned<PathBuf>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TlsVersion {
    #[default]
    V1_2,
    V1_3,
}

/// Certificates of clients (mTLS).
#[derive(Clone, Debug)]
pub struct ClientAuth {
    /// Who must have issued them: a PEM file.
    pub ca: Spanned<PathBuf>,
    /// Whether a client without one is turned away.
    pub required: bool,
}

pub(super) fn tls(node: &Node, directory: &Path, diagnostics: &mut Diagnostics) -> Option<Tls> {
    let table = Table::open(node, &keys::TLS, diagnostics)?;
    let mut certificates = Vec::new();
    let single = table.get("cert").is_some() || table.get("key").is_some();
    if single {
        certificates.extend(pair(&table, directory, diagnostics));
    }
    let list = table.list("certificates", diagnostics);
    for node in list {
        let entry = Table::open(node, &keys::CERTIFICATE, diagnostics);
        certificates.extend(entry.and_then(|entry| pair(&entry, directory, diagnostics)));
    }
    if !single && list.is_empty() {
        table.missing("`tls` needs a `cert` and its `key`, or a list of `certificates`", diagnostics);
    }
    let min_version = match table.get("min_version") {
        None => TlsVersion::default(),
        // 1.2 without quotes is a number, and means the same.
        Some(node) => match node.as_str().unwrap_or(node.span.text()) {
            "1.2" => TlsVersion::V1_2,
            "1.3" => TlsVersion::V1_3,
            _ => {
                mismatch(node, "`1.2` or `1.3`", diagnostics);
                TlsVersion::default()
            }
        },
    };
    let client_auth = match table.get("client_auth") {
        None => None,
        // SECURITY: what can't be read must not become "no certificate needed".
        Some(node) => Some(client_auth(node, directory, diagnostics)?),
    };
    let span = table.span().clone();
    (!certificates.is_empty()).then_some(Tls { certificates, min_version, client_auth, span })
}

fn pair(table: &Table<'_>, directory: &Path, diagnostics: &mut Diagnostics) -> Option<CertificateFiles> {
    let cert = file(table, "cert", "a certificate needs its `cert` and its `key`", directory, diagnostics);
    let key = file(table, "key", "a certificate needs its `cert` and its `key`", directory, diagnostics);
    Some(CertificateFiles { cert: cert?, key: key? })
}

fn client_auth(node: &Node, directory: &Path, diagnostics: &mut Diagnostics) -> Option<ClientAuth> {
    let table = Table::open(node, &keys::CLIENT_AUTH, diagnostics)?;
    let required = match table.get("mode") {
        None => true,
        Some(node) => match node.as_str() {
            Some("require") => true,
            Some("optional") => false,
            _ => {
                mismatch(node, "`require` or `optional`", diagnostics);
                true
            }
        },
    };
    let ca = file(&table, "ca", "`client_auth` needs a `ca`", directory, diagnostics)?;
    Some(ClientAuth { ca, required })
}

fn file(
    table: &Table<'_>,
    key: &str,
    missing: &str,
    directory: &Path,
    diagnostics: &mut Diagnostics,
) -> Option<Spanned<PathBuf>> {
    if table.get(key).is_none() {
        table.missing(missing, diagnostics);
        return None;
    }
    let text = table.name(key, diagnostics)?;
    Some(Spanned::new(directory.join(&text.value), text.span))
}
