//! Where a service is: URLs taken apart, Kong's `host:port` targets, and a service's list of targets.
//!
//! Nothing is resolved or connected here.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

use super::diagnostic::{Diagnostic, Diagnostics};
use super::keys;
use super::node::Node;
use super::source::{Span, Spanned};
use super::table::{Table, mismatch};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Scheme {
    Http,
    Https,
}

impl Scheme {
    pub fn as_str(self) -> &'static str {
        match self {
            Scheme::Http => "http",
            Scheme::Https => "https",
        }
    }

    pub fn default_port(self) -> u16 {
        match self {
            Scheme::Http => 80,
            Scheme::Https => 443,
        }
    }
}

/// What a service speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Protocol {
    #[default]
    Http,
    Https,
    /// HTTP/2 with prior knowledge (RFC 9113 §3.3); Kong's `grpc` too.
    H2c,
    /// HTTP/2 over TLS; Kong's `grpcs` too.
    H2,
}

impl Protocol {
    pub(super) const EXPECTED: &'static str = "`http`, `https`, `h2c`, `h2`, `grpc` or `grpcs`";

    pub(super) fn parse(name: &str) -> Option<Protocol> {
        Some(match name {
            "http" => Protocol::Http,
            "https" => Protocol::Https,
            "h2c" | "grpc" => Protocol::H2c,
            "h2" | "grpcs" => Protocol::H2,
            _ => return None,
        })
    }

    pub fn scheme(self) -> Scheme {
        match self {
            Protocol::Http | Protocol::H2c => Scheme::Http,
            Protocol::Https | Protocol::H2 => Scheme::Https,
        }
    }

    pub fn is_http2(self) -> bool {
        matches!(self, Protocol::H2c | Protocol::H2)
    }
}

/// One address of a service.
#[derive(Clone, Debug)]
pub struct Target {
    pub scheme: Scheme,
    /// A name or an IP address, in lower case; IPv6 without its brackets.
    pub host: String,
    pub port: u16,
    /// Goes before the request's path: empty, or begins with `/` and doesn't end with one. The service's own
    /// `path` is part of it.
    pub path: String,
    /// Its share of the requests; never chosen when 0.
    pub weight: u32,
    /// Used only while no other target is up.
    pub backup: bool,
    pub span: Span,
}

impl Target {
    /// `host:port`, IPv6 in brackets: what names it among the targets of its service.
    pub fn address(&self) -> String {
        format!("{}:{}", bracketed(&self.host), self.port)
    }

    /// For the `Host` header: the port only when it isn't the scheme's own, IPv6 in brackets.
    pub fn authority(&self) -> String {
        if self.port == self.scheme.default_port() {
            bracketed(&self.host)
        } else {
            format!("{}:{}", bracketed(&self.host), self.port)
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = self.scheme.as_str();
        write!(f, "{scheme}://{}{}", self.authority(), self.path)
    }
}

fn bracketed(host: &str) -> String {
    match host.parse::<Ipv6Addr>() {
        Ok(_) => format!("[{host}]"),
        Err(_) => host.to_owned(),
    }
}

/// A URL of a backend: `http://host:port/path`.
#[derive(Debug, PartialEq)]
pub(super) struct Url {
    pub scheme: Scheme,
    pub host: String,
    pub port: u16,
    pub path: String,
}

/// Why a text is not the URL of a backend: what is wrong, and a text that would be right, if it's plain.
#[derive(Debug, PartialEq)]
pub(super) struct NotAUrl {
    pub why: String,
    pub fix: Option<String>,
}

fn not(why: impl Into<String>) -> NotAUrl {
    NotAUrl { why: why.into(), fix: None }
}

impl Url {
    /// Takes an absolute http or https URL apart (RFC 3986 §3), without userinfo, query or fragment.
    pub fn parse(text: &str) -> Result<Url, NotAUrl> {
        let Some((scheme, rest)) = text.split_once("://") else {
            return Err(NotAUrl {
                why: "it has no scheme".to_owned(),
                fix: host_and_port(text.split('/').next().unwrap_or_default(), 80)
                    .is_ok()
                    .then(|| format!("http://{text}")),
            });
        };
        let scheme = match scheme.to_ascii_lowercase().as_str() {
            "http" => Scheme::Http,
            "https" => Scheme::Https,
            _ => return Err(not("only http and https are supported")),
        };
        if rest.contains(['?', '#']) {
            return Err(not("it must not have a query or a fragment"));
        }
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        if authority.contains('@') {
            return Err(not("it must not have a user or a password"));
        }
        let (host, port) = host_and_port(authority, scheme.default_port()).map_err(not)?;
        Ok(Url { scheme, host, port, path: base_path(path).map_err(not)? })
    }
}

/// `host`, `host:port`, `[::1]:port`.
pub(super) fn host_and_port(text: &str, default: u16) -> Result<(String, u16), &'static str> {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, rest) = rest.split_once(']').ok_or("`[` without its `]`")?;
            host.parse::<Ipv6Addr>().map_err(|_| "it has no IPv6 address between its brackets")?;
            let port = match rest.strip_prefix(':') {
                Some(port) => Some(port),
                None if rest.is_empty() => None,
                None => return Err("only a port may follow `]`"),
            };
            (host, port)
        }
        None => match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    let port = match port {
        None => default,
        Some(port) => match port.parse() {
            Ok(port) if port != 0 && !port_has_sign(text) => port,
            _ => return Err("its port is not a number from 1 to 65535"),
        },
    };
    if !text.starts_with('[') {
        check_host(host)?;
    }
    Ok((host.to_ascii_lowercase(), port))
}

fn port_has_sign(text: &str) -> bool {
    text.contains(":+")
}

/// A name or an IPv4 address; underscores occur in names of container networks.
pub(super) fn check_host(host: &str) -> Result<(), &'static str> {
    if host.is_empty() {
        return Err("there is no host");
    }
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_');
    if host.len() > 253 || !host.bytes().all(allowed) {
        return Err("a host is made of letters, digits, `-`, `.` and `_`");
    }
    let numeric = host.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    if numeric && host.parse::<IpAddr>().is_err() {
        return Err("that is not an IP address");
    }
    Ok(())
}

/// A path to put before others: checked, without its last slash.
pub(super) fn base_path(path: &str) -> Result<String, &'static str> {
    if !(path.is_empty() || path.starts_with('/')) {
        return Err("its path does not begin with `/`");
    }
    if path.contains(['?', '#']) || !path.bytes().all(|b| b.is_ascii_graphic()) {
        return Err("its path has characters that must be percent-encoded");
    }
    Ok(path.trim_end_matches('/').to_owned())
}

/// Decodes a URL, reporting what is wrong with it.
pub(super) fn url(text: &Spanned<String>, diagnostics: &mut Diagnostics) -> Option<Url> {
    match Url::parse(text) {
        Ok(url) => Some(url),
        Err(NotAUrl { why, fix }) => {
            let message = format!("{} is not the URL of a backend: {why}", text.quoted());
            let mut diagnostic = Diagnostic::error(&text.span, message);
            if let Some(fix) = fix {
                let help = format!("write {}", text.span.quote(&fix));
                diagnostic = diagnostic.help(help);
                if !text.span.is_expanded() {
                    diagnostic = diagnostic.fix(fix);
                }
            }
            diagnostics.push(diagnostic);
            None
        }
    }
}

/// The `targets` of a service.
pub(super) fn targets(nodes: &[Node], base: &str, diagnostics: &mut Diagnostics) -> Vec<Target> {
    nodes.iter().filter_map(|node| target(node, base, diagnostics)).collect()
}

fn target(node: &Node, base: &str, diagnostics: &mut Diagnostics) -> Option<Target> {
    if node.as_str().is_some() {
        mismatch(node, "a target such as `{url: …, weight: 1}`", diagnostics);
        return None;
    }
    let table = Table::open(node, &keys::TARGET, diagnostics)?;
    let weight = weight(&table, 1, diagnostics);
    let Some(text) = table.string("url", diagnostics) else {
        if table.get("url").is_none() {
            table.missing("a target needs a `url`", diagnostics);
        }
        return None;
    };
    let url = url(&text, diagnostics)?;
    Some(Target {
        scheme: url.scheme,
        host: url.host,
        port: url.port,
        path: format!("{}{base}", url.path),
        weight,
        backup: table.boolean("backup", diagnostics).unwrap_or(false),
        span: text.span,
    })
}

pub(super) fn weight(table: &Table<'_>, default: u32, diagnostics: &mut Diagnostics) -> u32 {
    table.integer("weight", 0..=65_535, diagnostics).and_then(|weight| u32::try_from(weight).ok()).unwrap_or(default)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_taken_apart() {
        let cases = [
            ("http://127.0.0.1:9001", "http 127.0.0.1 9001 []"),
            ("HTTP://Users.internal/api/", "http users.internal 80 [/api]"),
            ("https://h", "https h 443 []"),
            ("http://[::1]:8080/x", "http ::1 8080 [/x]"),
            ("127.0.0.1:9001/x", "it has no scheme; fix http://127.0.0.1:9001/x"),
            ("users", "it has no scheme; fix http://users"),
            ("", "it has no scheme"),
            ("ftp://h", "only http and https are supported"),
            ("http://", "there is no host"),
            ("http://:80", "there is no host"),
            ("http://h:", "its port is not a number from 1 to 65535"),
            ("http://h:+80", "its port is not a number from 1 to 65535"),
            ("http://h:70000", "its port is not a number from 1 to 65535"),
            ("http://a:b:1", "its port is not a number from 1 to 65535"),
            ("http://u:p@h", "it must not have a user or a password"),
            ("http://h/?a=b", "it must not have a query or a fragment"),
            ("http://h/a b", "its path has characters that must be percent-encoded"),
            ("http://10.0.0.256", "that is not an IP address"),
            ("http://[::1", "`[` without its `]`"),
            ("http://[x]:1", "it has no IPv6 address between its brackets"),
            ("http://[::1]x", "only a port may follow `]`"),
        ];
        for (text, expected) in cases {
            let found = match Url::parse(text) {
                Ok(url) => {
                    let scheme = url.scheme.as_str();
                    format!("{scheme} {} {} [{}]", url.host, url.port, url.path)
                }
                Err(NotAUrl { why, fix: None }) => why,
                Err(NotAUrl { why, fix: Some(fix) }) => format!("{why}; fix {fix}"),
            };
            assert_eq!(found, expected, "{text}");
        }
    }
}
