//! `compression`: which answers are compressed for which clients.

use super::diagnostic::{Diagnostic, Diagnostics};
use super::keys;
use super::listener::each;
use super::node::Node;
use super::table::{Table, mismatch};

/// When and how answers are compressed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compression {
    /// In the order of preference among those that a client likes equally. Default zstd, br, gzip.
    pub codings: Vec<Coding>,
    /// Shorter bodies are sent as they are, in bytes. Default 1 KiB: below that the fields cost more than is gained.
    pub min_length: u64,
    /// Content types, in lower case; `text/*` for all below it.
    pub types: Vec<String>,
}

/// A content coding that the gateway can apply (RFC 9110 §8.4.1, RFC 7932, RFC 8878).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coding {
    Zstd,
    Brotli,
    Gzip,
}

impl Coding {
    pub fn name(self) -> &'static str {
        match self {
            Coding::Zstd => "zstd",
            Coding::Brotli => "br",
            Coding::Gzip => "gzip",
        }
    }
}

const ALL: [Coding; 3] = [Coding::Zstd, Coding::Brotli, Coding::Gzip];

/// The types that Caddy compresses by default, as far as a gateway meets them.
const TYPES: [&str; 10] = [
    "text/*",
    "application/json",
    "application/problem+json",
    "application/javascript",
    "application/xml",
    "application/graphql-response+json",
    "application/ld+json",
    "application/vnd.api+json",
    "application/manifest+json",
    "image/svg+xml",
];

const MIN_LENGTH: u64 = 1024;

/// Decodes `compression`: `on`, `off`, or a mapping. Off when absent.
pub(super) fn compression(node: Option<&Node>, diagnostics: &mut Diagnostics) -> Option<Compression> {
    let node = node.filter(|node| !node.is_null())?;
    let on = Compression { codings: ALL.to_vec(), min_length: MIN_LENGTH, types: TYPES.map(str::to_owned).to_vec() };
    match (node.as_bool(), node.as_str()) {
        (Some(true), _) | (_, Some("on")) => return Some(on),
        (Some(false), _) | (_, Some("off")) => return None,
        _ if node.as_map().is_none() => {
            mismatch(node, "`on`, `off` or a mapping", diagnostics);
            return None;
        }
        _ => {}
    }
    let table = Table::open(node, &keys::COMPRESSION, diagnostics)?;
    let codings = each(table.get("codings"), diagnostics, |text| {
        let known = ALL.into_iter().find(|coding| coding.name() == text.value);
        known.ok_or_else(|| "is none of `zstd`, `br` and `gzip`".to_owned())
    });
    if let (Some(codings), Some(span)) = (&codings, table.key_span("codings"))
        && codings.is_empty()
    {
        let diagnostic = Diagnostic::error(span, "compression without a coding");
        diagnostics.push(diagnostic.help("write `compression: off`"));
    }
    let types = each(table.get("types"), diagnostics, |text| {
        let is_type = text.split_once('/').is_some_and(|(kind, rest)| !kind.is_empty() && !rest.is_empty());
        if is_type { Ok(text.to_ascii_lowercase()) } else { Err("is not a content type such as `text/*`".to_owned()) }
    });
    Some(Compression {
        codings: codings.unwrap_or(on.codings),
        min_length: table.size("min_length", diagnostics).unwrap_or(on.min_length),
        types: types.unwrap_or(on.types),
    })
}
