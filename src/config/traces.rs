//! `traces`: where spans go, and of which exchanges. Deliberately absent: OTLP over gRPC, and JSON.

use http::{HeaderName, HeaderValue, Uri};

use super::diagnostic::Diagnostics;
use super::keys;
use super::listener::Secret;
use super::node::Node;
use super::source::Spanned;
use super::table::{Table, mismatch, string};

/// Export by OTLP over HTTP with protobuf bodies.
#[derive(Clone, Debug)]
pub struct Traces {
    /// The URL that spans are posted to.
    pub endpoint: String,
    /// The share of the traces that begin here which is recorded, 0 to 1. Whoever continues a trace has decided already.
    pub sample: f64,
    pub service_name: String,
    /// Sent with each batch; they may hold a token.
    pub headers: Vec<(HeaderName, Secret)>,
}

/// Below an endpoint, as the OTLP specification names it for HTTP.
const PATH: &str = "/v1/traces";

/// Decodes `traces`: `off`, a URL, or a mapping. Off when absent.
pub(super) fn traces(node: Option<&Node>, diagnostics: &mut Diagnostics) -> Option<Traces> {
    let node = node.filter(|node| !node.is_null())?;
    if node.as_bool() == Some(false) || matches!(node.as_str(), Some("off" | "")) {
        return None;
    }
    if node.as_map().is_none() {
        let text = string(node, diagnostics)?;
        let endpoint = endpoint(&text, diagnostics)?;
        return Some(Traces { endpoint, sample: 1.0, service_name: "gatewright".to_owned(), headers: Vec::new() });
    }
    let table = Table::open(node, &keys::TRACES, diagnostics)?;
    let mut sample = 1.0;
    if let Some(node) = table.get("sample") {
        match node.as_f64().filter(|share| (0.0..=1.0).contains(share)) {
            Some(share) => sample = share,
            None => mismatch(node, "a share from 0 to 1", diagnostics),
        }
    }
    let service_name = table.name("service_name", diagnostics);
    let headers = headers(&table, diagnostics);
    if node.as_map().is_some_and(|map| map.get("endpoint").is_none()) {
        table.missing("`traces` needs an `endpoint`", diagnostics);
    }
    // Written and empty is off, so that a variable can switch them on.
    let text = table.string("endpoint", diagnostics).filter(|text| !text.value.is_empty())?;
    Some(Traces {
        endpoint: endpoint(&text, diagnostics)?,
        sample,
        service_name: service_name.map_or_else(|| "gatewright".to_owned(), |name| name.value),
        headers,
    })
}

fn endpoint(text: &Spanned<String>, diagnostics: &mut Diagnostics) -> Option<String> {
    let uri = text.value.parse::<Uri>().ok().filter(|uri| {
        matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some_and(|host| !host.is_empty())
    });
    if uri.is_none() {
        let message = format!("{} is not a URL such as `http://localhost:4318`", text.quoted());
        diagnostics.error(&text.span, message);
        return None;
    }
    let base = text.value.trim_end_matches('/');
    Some(if base.ends_with(PATH) { base.to_owned() } else { format!("{base}{PATH}") })
}

fn headers(table: &Table<'_>, diagnostics: &mut Diagnostics) -> Vec<(HeaderName, Secret)> {
    let mut headers = Vec::new();
    for (name, entry) in table.entries("headers", diagnostics) {
        let Some(text) = string(&entry.node, diagnostics) else { continue };
        match (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_str(&text.value)) {
            (Ok(name), Ok(_)) => headers.push((name, Secret(text.value))),
            (Err(_), _) => diagnostics.error(&entry.key, format!("`{name}` is not a header name")),
            // SECURITY: the value is not shown, it may be a token.
            (_, Err(_)) => diagnostics.error(&text.span, format!("the value of `{name}` can't be sent in a header")),
        }
    }
    headers
}
