//! The `tls` of a service: whom the gateway trusts behind it, and what it shows there.
//!
//! Only decoded here. The files are read, and checked, when a generation is built (`gateway::upstream_tls`).

use std::path::{Path, PathBuf};

use super::diagnostic::{Diagnostic, Diagnostics};
use super::keys;
use super::source::Spanned;
use super::table::Table;

/// How connections over TLS to the targets of a service are made.
#[derive(Clone, Debug)]
pub struct UpstreamTls {
    /// A PEM file of the authorities to trust; the system's when absent.
    pub ca: Option<Spanned<PathBuf>>,
    /// Whether the target's certificate is verified.
    pub verify: bool,
    /// The name to ask for and to verify; the target's host when absent.
    pub server_name: Option<Spanned<String>>,
    /// PEM files of the certificate chain and its key that the target is shown.
    pub client: Option<(Spanned<PathBuf>, Spanned<PathBuf>)>,
}

impl Default for UpstreamTls {
    /// Verified by the system's authorities.
    fn default() -> UpstreamTls {
        UpstreamTls { ca: None, verify: true, server_name: None, client: None }
    }
}

/// Decodes the `tls` of a service, relative paths joined to `directory`.
pub(super) fn upstream_tls(service: &Table<'_>, directory: &Path, diagnostics: &mut Diagnostics) -> UpstreamTls {
    let Some(table) = service.get("tls").and_then(|node| Table::open(node, &keys::SERVICE_TLS, diagnostics)) else {
        return UpstreamTls::default();
    };
    let verify = table.boolean("verify", diagnostics).unwrap_or(true);
    if let (false, Some(node)) = (verify, table.get("verify")) {
        let message = "the certificate of this service is not verified: whoever answers in its place is believed";
        let help = "name its authority: `ca: file.pem`";
        diagnostics.push(Diagnostic::warning(&node.span, message).help(help));
    }
    let mut file = |key| {
        let path = table.name(key, diagnostics)?;
        Some(Spanned::new(directory.join(&path.value), path.span))
    };
    let ca = file("ca");
    let client = match (file("client_cert"), file("client_key")) {
        (Some(certificate), Some(key)) => Some((certificate, key)),
        _ => None,
    };
    for (given, absent) in [("client_cert", "client_key"), ("client_key", "client_cert")] {
        if let (Some(span), None) = (table.key_span(given), table.get(absent)) {
            diagnostics.error(span, format!("`{given}` needs its `{absent}`"));
        }
    }
    UpstreamTls { ca, verify, server_name: table.name("server_name", diagnostics), client }
}
