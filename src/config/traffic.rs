//! What a route does without a script: redirects, fixed replies, rewriting, a split between services, injected faults.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use super::diagnostic::{Diagnostic, Diagnostics};
use super::keys;
use super::mirror::{self, Mirror};
use super::node::Node;
use super::path::{PathPattern, Segment};
use super::source::Spanned;
use super::table::{Table, mismatch, string};

/// A route's own traffic rules.
#[derive(Clone, Debug, Default)]
pub struct Traffic {
    pub fault: Option<Fault>,
    pub answer: Option<Fixed>,
    /// Services, as indexes of [`Config::services`](super::Config::services), by weight; empty when there is one.
    pub split: Vec<(usize, u32)>,
    /// The path to ask the service for.
    pub rewrite: Option<Template>,
    pub request_headers: HeaderChanges,
    pub response_headers: HeaderChanges,
    pub mirror: Option<Mirror>,
}

/// An answer that needs neither service nor script.
#[derive(Clone, Debug)]
pub enum Fixed {
    Redirect { to: Template, status: StatusCode },
    Reply { status: StatusCode, headers: HeaderMap, body: Bytes },
}

/// Text with placeholders.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template(pub Vec<Part>);

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    Text(String),
    /// `{path}`: the request's whole path.
    Path,
    /// `{rest}`: what the route's own path did not take; empty, or with a slash in front.
    Rest,
    /// `{query}`: with its question mark; empty when there is none.
    Query,
    /// `{host}`: as the client wrote it, without a port.
    Host,
    /// A parameter of the route's path.
    Parameter(String),
}

/// Removed first, then set, then added.
#[derive(Clone, Debug, Default)]
pub struct HeaderChanges {
    pub remove: Vec<HeaderName>,
    pub set: Vec<(HeaderName, HeaderValue)>,
    pub add: Vec<(HeaderName, HeaderValue)>,
}

/// Failures made on purpose, for tests (Envoy's fault filter).
#[derive(Clone, Debug, PartialEq)]
pub struct Fault {
    /// The share of the requests, 0 to 1.
    pub share: f64,
    pub delay: Option<Duration>,
    pub abort: Option<StatusCode>,
}

/// The rules of one route, and the names of the services it is split between.
pub(super) struct Written {
    /// Most routes have none.
    pub traffic: Option<Box<Traffic>>,
    pub split: Vec<(Spanned<String>, u32)>,
    pub mirror: Option<Spanned<String>>,
}

const KEYS: [&str; 8] =
    ["redirect", "reply", "split", "rewrite", "request_headers", "response_headers", "fault", "mirror"];

pub(super) fn traffic(table: &Table<'_>, paths: &[Spanned<PathPattern>], diagnostics: &mut Diagnostics) -> Written {
    if KEYS.iter().all(|key| table.get(key).is_none()) {
        return Written { traffic: None, split: Vec::new(), mirror: None };
    }
    let answers: Vec<_> = ["redirect", "reply"].into_iter().filter(|key| table.get(key).is_some()).collect();
    if let [first, second] = answers[..]
        && let Some(span) = table.key_span(second)
    {
        diagnostics.error(span, format!("a route has `{first}` or `{second}`, not both"));
    }
    let redirect = table.get("redirect").and_then(|node| redirect(node, paths, diagnostics));
    let reply = table.get("reply").and_then(|node| reply(node, diagnostics));
    let rewrite = table.string("rewrite", diagnostics).and_then(|text| {
        if !text.starts_with('/') {
            let message = format!("{} is not a path to ask for: it must begin with `/`", text.quoted());
            diagnostics.error(&text.span, message);
            return None;
        }
        template(&text, paths, diagnostics)
    });
    let (mirror, mirrored_to) = table.get("mirror").and_then(|node| mirror::mirror(node, diagnostics)).unzip();
    let traffic = Traffic {
        fault: table.get("fault").and_then(|node| fault(node, diagnostics)),
        answer: redirect.or(reply),
        split: Vec::new(),
        rewrite,
        request_headers: changes(table, "request_headers", diagnostics),
        response_headers: changes(table, "response_headers", diagnostics),
        mirror,
    };
    Written { traffic: Some(Box::new(traffic)), split: split(table, diagnostics), mirror: mirrored_to }
}

fn redirect(node: &Node, paths: &[Spanned<PathPattern>], diagnostics: &mut Diagnostics) -> Option<Fixed> {
    let (to, status) = if node.as_map().is_some() {
        let table = Table::open(node, &keys::REDIRECT, diagnostics)?;
        if table.get("to").is_none() {
            table.missing("a redirect needs a `to`", diagnostics);
        }
        let status = table.integer("status", 301..=308, diagnostics).unwrap_or(308);
        if !matches!(status, 301 | 302 | 303 | 307 | 308)
            && let Some(node) = table.get("status")
        {
            mismatch(node, "301, 302, 303, 307 or 308", diagnostics);
        }
        (table.string("to", diagnostics)?, status)
    } else {
        (string(node, diagnostics)?, 308)
    };
    let absolute = ["/", "http://", "https://", "{path}"].iter().any(|start| to.starts_with(start));
    if !absolute {
        let message = format!("{} is not a URL to redirect to", to.quoted());
        let help = "write a path, or a URL with its scheme, such as `https://example.com{path}{query}`";
        diagnostics.push(Diagnostic::error(&to.span, message).help(help));
        return None;
    }
    Some(Fixed::Redirect { to: template(&to, paths, diagnostics)?, status: status_of(status)? })
}

fn status_of(status: i64) -> Option<StatusCode> {
    u16::try_from(status).ok().and_then(|status| StatusCode::from_u16(status).ok())
}

fn reply(node: &Node, diagnostics: &mut Diagnostics) -> Option<Fixed> {
    let table = Table::open(node, &keys::REPLY, diagnostics)?;
    let status = table.integer("status", 200..=599, diagnostics).unwrap_or(200);
    let body = table.string("body", diagnostics).map(|body| body.value).unwrap_or_default();
    let mut headers = HeaderMap::new();
    for (name, value) in header_values(&table, "headers", diagnostics) {
        headers.append(name, value);
    }
    if !body.is_empty() && !headers.contains_key(http::header::CONTENT_TYPE) {
        headers.insert(http::header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    }
    Some(Fixed::Reply { status: status_of(status)?, headers, body: body.into() })
}

fn fault(node: &Node, diagnostics: &mut Diagnostics) -> Option<Fault> {
    let table = Table::open(node, &keys::FAULT, diagnostics)?;
    let percent = table.integer("percent", 0..=100, diagnostics).unwrap_or(100);
    let abort = table.integer("abort", 400..=599, diagnostics);
    let delay = table.duration("delay", diagnostics);
    if abort.is_none() && delay.is_none() {
        table.missing("a fault needs a `delay` or an `abort`", diagnostics);
    }
    Some(Fault { share: percent as f64 / 100.0, delay, abort: abort.and_then(status_of) })
}

fn split(table: &Table<'_>, diagnostics: &mut Diagnostics) -> Vec<(Spanned<String>, u32)> {
    let mut parts = Vec::new();
    for node in table.list("split", diagnostics) {
        let Some(part) = Table::open(node, &keys::SPLIT, diagnostics) else { continue };
        let Some(service) = part.name("service", diagnostics) else {
            part.missing("a part of a split needs a `service`", diagnostics);
            continue;
        };
        let weight = part.integer("weight", 0..=65_535, diagnostics).unwrap_or(1);
        parts.push((service, u32::try_from(weight).unwrap_or(1)));
    }
    if !parts.is_empty()
        && parts.iter().all(|(_, weight)| *weight == 0)
        && let Some(span) = table.key_span("split")
    {
        diagnostics.error(span, "every part of the split has weight 0: none would ever be chosen");
    }
    parts
}

fn changes(table: &Table<'_>, key: &str, diagnostics: &mut Diagnostics) -> HeaderChanges {
    let Some(node) = table.get(key) else { return HeaderChanges::default() };
    let Some(table) = Table::open(node, &keys::HEADER_CHANGES, diagnostics) else { return HeaderChanges::default() };
    let mut remove = Vec::new();
    for name in table.strings("remove", diagnostics) {
        remove.extend(header_name(&name.value, &name.span, diagnostics));
    }
    HeaderChanges {
        remove,
        set: header_values(&table, "set", diagnostics),
        add: header_values(&table, "add", diagnostics),
    }
}

fn header_values(table: &Table<'_>, key: &str, diagnostics: &mut Diagnostics) -> Vec<(HeaderName, HeaderValue)> {
    let mut values = Vec::new();
    for (name, entry) in table.entries(key, diagnostics) {
        let name = header_name(name, &entry.key, diagnostics);
        let Some(text) = string(&entry.node, diagnostics) else { continue };
        match (name, HeaderValue::from_str(&text)) {
            (Some(name), Ok(value)) => values.push((name, value)),
            (_, Err(_)) => diagnostics.error(&text.span, format!("{} is not a header value", text.quoted())),
            (None, Ok(_)) => {}
        }
    }
    values
}

/// SECURITY: framing and what belongs to one connection is the gateway's own.
fn header_name(name: &str, span: &super::source::Span, diagnostics: &mut Diagnostics) -> Option<HeaderName> {
    let framing =
        ["connection", "content-length", "host", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade"];
    match HeaderName::from_bytes(name.as_bytes()) {
        Ok(name) if framing.contains(&name.as_str()) => {
            diagnostics.error(span, format!("the header `{name}` is the gateway's own and can't be changed"));
            None
        }
        Ok(name) => Some(name),
        Err(_) => {
            diagnostics.error(span, format!("`{name}` is not a header name"));
            None
        }
    }
}

/// Takes a template apart. A parameter must be one of every path of the route.
fn template(text: &Spanned<String>, paths: &[Spanned<PathPattern>], diagnostics: &mut Diagnostics) -> Option<Template> {
    let mut parts = Vec::new();
    let mut left = text.as_str();
    while let Some(at) = left.find('{') {
        if at > 0 {
            parts.push(Part::Text(left[..at].to_owned()));
        }
        let Some(end) = left[at..].find('}') else {
            diagnostics.error(&text.span, format!("{}: a `{{` without its `}}`", text.quoted()));
            return None;
        };
        let name = &left[at + 1..at + end];
        parts.push(match name {
            "path" => Part::Path,
            "rest" => Part::Rest,
            "query" => Part::Query,
            "host" => Part::Host,
            _ => Part::Parameter(name.to_owned()),
        });
        if let Some(Part::Parameter(name)) = parts.last()
            && (paths.is_empty() || !paths.iter().all(|path| has_parameter(path, name)))
        {
            let message = format!("{}: no `{{{name}}}` in every path of the route", text.quoted());
            let help = "there are `{path}`, `{rest}`, `{query}`, `{host}` and the parameters of the route's paths";
            diagnostics.push(Diagnostic::error(&text.span, message).help(help));
            return None;
        }
        left = &left[at + end + 1..];
    }
    if !left.is_empty() {
        parts.push(Part::Text(left.to_owned()));
    }
    Some(Template(parts))
}

fn has_parameter(path: &PathPattern, name: &str) -> bool {
    match path {
        PathPattern::Template(segments) => {
            segments.iter().any(|segment| matches!(segment, Segment::Parameter(known) if known == name))
        }
        PathPattern::Regex { regex, .. } => regex.capture_names().flatten().any(|known| known == name),
        PathPattern::Exact(_) | PathPattern::Prefix(_) => false,
    }
}
