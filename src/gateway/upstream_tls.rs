//! The TLS settings of services, made ready for all workers: files read, certificates parsed, mistakes reported.

use super::files::Files;
use crate::{
    config::{Diagnostic, Diagnostics, Scheme, Service, Spanned},
    upstream::{BadTls, SystemRoots, Tls, TlsSettings},
};
use std::path::PathBuf;

/// For each service what its targets with TLS use; none where there is no such target.
pub fn upstream_tls(services: &[Service], files: &Files, diagnostics: &mut Diagnostics) -> Vec<Option<Tls>> {
    let system = SystemRoots::default();
    services.iter().map(|service| of_service(service, &system, files, diagnostics)).collect()
}

fn of_service(service: &Service, system: &SystemRoots, files: &Files, diagnostics: &mut Diagnostics) -> Option<Tls> {
    let target = service.targets.iter().find(|target| target.scheme == Scheme::Https)?;
    if !service.enabled {
        return None;
    }
    let tls = &service.tls;
    let client = tls.client.as_ref();
    let settings = TlsSettings {
        ca: read(tls.ca.as_ref(), files, diagnostics)?,
        verify: tls.verify,
        server_name: tls.server_name.as_ref().map(|name| name.value.clone()),
        client: read(client.map(|(chain, _)| chain), files, diagnostics)?.zip(read(
            client.map(|(_, key)| key),
            files,
            diagnostics,
        )?),
        http2: service.http2,
    };
    let error = match Tls::new(settings, system) {
        Ok(tls) => return Some(tls),
        Err(error) => error,
    };
    let span = match &error {
        BadTls::Ca(_) => tls.ca.as_ref().map(|file| &file.span),
        BadTls::ClientCertificate(_) => client.map(|(chain, _)| &chain.span),
        BadTls::ClientKey(_) => client.map(|(_, key)| &key.span),
        BadTls::ServerName => tls.server_name.as_ref().map(|name| &name.span),
        BadTls::SystemRoots | BadTls::Rustls(_) => None,
    };
    let span = span.unwrap_or(&target.span);
    let diagnostic = match &error {
        BadTls::SystemRoots => Diagnostic::error(span, error.to_string()).help("name one: `tls: {ca: file.pem}`"),
        BadTls::Rustls(_) => Diagnostic::error(span, error.to_string()),
        BadTls::Ca(_) | BadTls::ClientCertificate(_) | BadTls::ClientKey(_) | BadTls::ServerName => {
            Diagnostic::error(span, format!("{} can't be used: {error}", span.quote(span.text())))
        }
    };
    diagnostics.push(diagnostic);
    None
}

/// The text of a file that may be named; nothing after an error.
fn read(file: Option<&Spanned<PathBuf>>, files: &Files, diagnostics: &mut Diagnostics) -> Option<Option<String>> {
    let Some(file) = file else { return Some(None) };
    match files.read(&file.value) {
        Ok(source) => Some(Some(source.text().to_owned())),
        Err(missing) => {
            let message = format!("{} can't be read: {missing}", file.span.quote(file.value.display()));
            diagnostics.error(&file.span, message);
            None
        }
    }
}
