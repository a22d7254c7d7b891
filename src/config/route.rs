//! Routes: which requests, and what becomes of them, in our form and in Kong's.

use http::{HeaderName, Method};

use super::File;
use super::diagnostic::{Diagnostic, Diagnostics};
use super::keys;
use super::listener::each;
use super::matching::{HostPattern, ValueMatch};
use super::node::{Entry, Node};
use super::path::PathPattern;
use super::plugin_use::{PluginUse, plugins, reference};
use super::source::{Span, Spanned};
use super::table::{Table, mismatch, string};
use super::target::Scheme;
use super::traffic::{self, Traffic};

/// A route. All conditions must hold; in each list one must; an empty list holds for every request.
#[derive(Clone, Debug)]
pub struct Route {
    /// Unique; `SERVICE-1` or `route-1`, … by position when none is written.
    pub name: Spanned<String>,
    /// Its service, as an index of [`Config::services`](super::Config::services); a script answers when absent.
    pub service: Option<usize>,
    pub hosts: Vec<HostPattern>,
    pub paths: Vec<Spanned<PathPattern>>,
    pub methods: Vec<Method>,
    /// Each name must have one of its values.
    pub headers: Vec<(HeaderName, Vec<ValueMatch>)>,
    /// Each parameter must have one of its values.
    pub query: Vec<(String, Vec<ValueMatch>)>,
    /// Names of listeners.
    pub listeners: Vec<Spanned<String>>,
    /// Over which it answers; never empty.
    pub protocols: Vec<Scheme>,
    pub strip_path: bool,
    pub preserve_host: bool,
    /// The higher matches first, before all other rules. Default 0.
    pub priority: i64,
    /// Kong's: between two regex paths the higher matches first. Default 0.
    pub regex_priority: i64,
    pub plugins: Vec<PluginUse>,
    pub traffic: Option<Box<Traffic>>,
    pub span: Span,
    /// Kong's, by which others may refer to it.
    pub(super) id: Option<String>,
}

impl Route {
    /// Whether it needs neither a service nor a script.
    pub fn answers_itself(&self) -> bool {
        self.traffic.as_ref().is_some_and(|traffic| traffic.answer.is_some())
    }
}

/// A route whose service is known only by name yet.
pub(super) struct Written {
    pub route: Route,
    /// What it says in the list at the top.
    pub service: Option<Spanned<String>>,
    /// The services that it is split between.
    pub split: Vec<(Spanned<String>, u32)>,
    /// The service that gets copies.
    pub mirror: Option<Spanned<String>>,
    /// Absent when it is to be the service's.
    pub preserve_host: Option<bool>,
    /// Whether the name is the user's.
    pub named: bool,
}

/// Decodes one route. `fallback` is its name when it has none.
pub(super) fn route(
    node: &Node,
    fallback: impl FnOnce() -> Spanned<String>,
    file: &File<'_>,
    diagnostics: &mut Diagnostics,
) -> Option<Written> {
    let table = Table::open(node, &keys::ROUTE, diagnostics)?;
    let name = table.name("name", diagnostics);
    let preserve_host = table.boolean("preserve_host", diagnostics);
    if let Some(node) = table.get("path_handling")
        && node.as_str() != Some("v0")
    {
        let message = "`path_handling` has no effect: paths are joined as `v0` does";
        diagnostics.warning(&node.span, message);
    }
    let paths = paths(&table, file, diagnostics);
    let traffic = traffic::traffic(&table, &paths, diagnostics);
    let named = name.is_some();
    let route = Route {
        name: name.unwrap_or_else(fallback),
        service: None,
        hosts: hosts(&table, diagnostics),
        paths,
        methods: methods(&table, "methods", diagnostics),
        headers: headers(&table, diagnostics),
        query: query(&table, diagnostics),
        listeners: table.strings("listeners", diagnostics),
        protocols: protocols(&table, diagnostics),
        strip_path: table.boolean("strip_path", diagnostics).unwrap_or(true),
        preserve_host: preserve_host.unwrap_or(false),
        priority: priority(&table, "priority", diagnostics),
        regex_priority: priority(&table, "regex_priority", diagnostics),
        plugins: plugins(table.get("plugins"), file.directory, diagnostics),
        traffic: traffic.traffic,
        span: node.span.clone(),
        id: table.string("id", diagnostics).map(|id| id.value),
    };
    check_conditions(&table, diagnostics);
    Some(Written {
        route,
        service: table.get("service").and_then(|node| reference(node, diagnostics)),
        split: traffic.split,
        mirror: traffic.mirror,
        preserve_host,
        named,
    })
}

/// A forgotten `paths` must not turn a route into one for everything.
fn check_conditions(table: &Table<'_>, diagnostics: &mut Diagnostics) {
    let conditions = ["hosts", "paths", "methods", "headers", "query", "listeners"];
    let written = |key: &&str| {
        let empty = |node: &Node| {
            node.as_list().is_some_and(|list| list.is_empty()) || node.as_map().is_some_and(|map| map.is_empty())
        };
        table.get(key).is_some_and(|node| !empty(node))
    };
    if !conditions.iter().any(written) {
        let message = "a route without conditions would match every request";
        let help = "give it `paths`, `hosts` or `methods`; `paths: [/]` matches everything";
        table.lacks(Diagnostic::error(table.span(), message).help(help), diagnostics);
    }
}

fn hosts(table: &Table<'_>, diagnostics: &mut Diagnostics) -> Vec<HostPattern> {
    each(table.get("hosts"), diagnostics, |text| {
        HostPattern::parse(text).map_err(|why| format!("is not a host to match: {why}"))
    })
    .unwrap_or_default()
}

fn paths(table: &Table<'_>, file: &File<'_>, diagnostics: &mut Diagnostics) -> Vec<Spanned<PathPattern>> {
    each(table.get("paths"), diagnostics, |text| {
        let pattern =
            if file.guesses_regex && is_old_regex(text) { PathPattern::regex(text) } else { PathPattern::parse(text) };
        match pattern {
            Ok(pattern) => Ok(Spanned::new(pattern, text.span.clone())),
            Err(why) if text.starts_with('~') => Err(format!("is not a regular expression: {why}")),
            Err(why) => Err(format!("is not a path to match: {why}")),
        }
    })
    .unwrap_or_default()
}

/// Before format version 3.0, Kong took a path with characters beyond these for a regular expression.
fn is_old_regex(path: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.~/%".contains(&b);
    path.starts_with('/') && !path.bytes().all(plain)
}

/// A list of methods.
pub(super) fn methods(table: &Table<'_>, key: &str, diagnostics: &mut Diagnostics) -> Vec<Method> {
    let nodes = table.list(key, diagnostics);
    let mut methods = Vec::with_capacity(nodes.len());
    for node in nodes {
        let Some(text) = string(node, diagnostics) else {
            continue;
        };
        match Method::from_bytes(text.as_bytes()) {
            // RFC 9110 §9.1: methods are case-sensitive, so `get` would match nothing.
            Ok(method) if !text.contains(|c: char| c.is_ascii_lowercase()) => methods.push(method),
            Ok(_) => {
                let message = format!("the method {} is not in capitals", text.quoted());
                let diagnostic = Diagnostic::error(&text.span, message);
                let fix = text.to_ascii_uppercase();
                diagnostics.push(match text.span.is_expanded() {
                    true => diagnostic,
                    false => diagnostic.help(format!("write `{fix}`")).fix(fix),
                });
            }
            Err(_) => diagnostics.error(&text.span, format!("{} is not a method", text.quoted())),
        }
    }
    methods
}

fn headers(table: &Table<'_>, diagnostics: &mut Diagnostics) -> Vec<(HeaderName, Vec<ValueMatch>)> {
    let mut headers: Vec<(HeaderName, Vec<ValueMatch>)> = Vec::new();
    for (name, entry) in table.entries("headers", diagnostics) {
        let Ok(header) = HeaderName::from_bytes(name.as_bytes()) else {
            diagnostics.error(&entry.key, format!("`{name}` is not a header name"));
            continue;
        };
        if header == http::header::HOST {
            let help = "write it under `hosts`";
            let message = "`host` is not matched as a header";
            diagnostics.push(Diagnostic::error(&entry.key, message).help(help));
        } else if headers.iter().any(|(other, _)| *other == header) {
            diagnostics.error(&entry.key, format!("the header `{header}` is written twice"));
        } else {
            headers.push((header, values(entry, diagnostics)));
        }
    }
    headers
}

fn query(table: &Table<'_>, diagnostics: &mut Diagnostics) -> Vec<(String, Vec<ValueMatch>)> {
    table
        .entries("query", diagnostics)
        .map(|(name, entry)| (name.clone(), entry))
        .collect::<Vec<_>>()
        .into_iter()
        .map(|(name, entry)| (name, values(entry, diagnostics)))
        .collect()
}

/// The values behind a header or parameter: a list, or one alone.
fn values(entry: &Entry, diagnostics: &mut Diagnostics) -> Vec<ValueMatch> {
    let nodes = match entry.node.as_list() {
        Some([]) => {
            diagnostics.error(&entry.node.span, "an empty list of values matches nothing");
            &[]
        }
        Some(items) => items,
        None => std::slice::from_ref(&entry.node),
    };
    let mut values = Vec::with_capacity(nodes.len());
    for node in nodes {
        let Some(text) = string(node, diagnostics) else {
            continue;
        };
        match ValueMatch::parse(&text) {
            Ok(value) => values.push(value),
            Err(why) => {
                let message = format!("{} is not a regular expression: {why}", text.quoted());
                diagnostics.error(&text.span, message);
            }
        }
    }
    values
}

fn protocols(table: &Table<'_>, diagnostics: &mut Diagnostics) -> Vec<Scheme> {
    let mut protocols = Vec::new();
    for node in table.list("protocols", diagnostics) {
        match node.as_str() {
            Some("http") => protocols.push(Scheme::Http),
            Some("https") => protocols.push(Scheme::Https),
            _ => mismatch(node, "`http` or `https`", diagnostics),
        }
    }
    if protocols.is_empty() {
        return vec![Scheme::Http, Scheme::Https];
    }
    if !protocols.contains(&Scheme::Http)
        && let Some(span) = table.key_span("protocols")
    {
        let message = "this route answers over https only, and no listener has TLS: it is never matched";
        diagnostics.warning(span, message);
    }
    protocols
}

fn priority(table: &Table<'_>, key: &str, diagnostics: &mut Diagnostics) -> i64 {
    let range = -1_000_000_000..=1_000_000_000;
    table.integer(key, range, diagnostics).unwrap_or(0)
}
