//! What only shows when the whole file is known: references, names that must be unique, routes that hide each other.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt::{Display, Write};

use super::diagnostic::{Diagnostic, Diagnostics};
use super::source::{Span, Spanned};
use super::{Config, PathPattern, Route};

pub(super) fn check(config: &Config, diagnostics: &mut Diagnostics) {
    let services = config.services.iter().map(|service| &service.name);
    distinct("services", services, diagnostics);
    let routes = config.routes.iter().map(|route| &route.name);
    distinct("routes", routes, diagnostics);
    listeners(config, diagnostics);
    entrances(config, diagnostics);
    same_match(&config.routes, diagnostics);
}

/// What a listener needs from elsewhere in the file.
fn entrances(config: &Config, diagnostics: &mut Diagnostics) {
    for listener in &config.listeners {
        let Some(span) = &listener.span else { continue };
        if listener.https_redirect && !config.listeners.iter().any(|l| l.tls.is_some()) {
            diagnostics.error(span, "`https_redirect` has nowhere to send requests: no listener has `tls`");
        }
        if listener.proxy_protocol && config.trusted_proxies.is_empty() {
            let message = "`proxy_protocol` lets nobody in: `trusted_proxies` is empty";
            diagnostics.push(Diagnostic::error(span, message).help("list the addresses of the balancer there"));
        }
    }
}

fn distinct<'c>(what: &str, names: impl Iterator<Item = &'c Spanned<String>>, diagnostics: &mut Diagnostics) {
    let mut seen: HashMap<&str, &Span, ahash::RandomState> = HashMap::default();
    for name in names {
        if let Some(first) = seen.get(name.as_str()) {
            let message = format!("two {what} are named {}", name.quoted());
            let diagnostic = Diagnostic::error(&name.span, message);
            diagnostics.push(diagnostic.related(first, "first here"));
        } else {
            seen.insert(name, &name.span);
        }
    }
}

fn listeners(config: &Config, diagnostics: &mut Diagnostics) {
    let names = || config.listeners.iter().filter_map(|l| l.name.as_ref());
    for name in config.routes.iter().flat_map(|route| &route.listeners) {
        if !names().any(|known| known.value == name.value) {
            let diagnostic = Diagnostic::undefined("listener", name, names());
            diagnostics.push(match names().next() {
                Some(_) => diagnostic,
                None => diagnostic.help("give it a name: `listen: [{address: …, name: …}]`"),
            });
        }
    }
}

/// Routes of which one can never be reached. The same in everything is a mistake; sharing one path of several is
/// taken for a habit of the file (Kong's users have it), and is a warning.
fn same_match(routes: &[Route], diagnostics: &mut Diagnostics) {
    let mut whole: HashMap<String, &Route> = HashMap::new();
    let mut single: HashMap<String, (&Route, &Span)> = HashMap::new();
    for route in sharing_a_path(routes) {
        let conditions = conditions(route);
        let paths = sorted(route.paths.iter().map(|path| path.identity()));
        let key = format!("{conditions} paths {paths}");
        if let Some(first) = whole.get(&key) {
            let message =
                format!("the routes {} and {} match the same requests", first.name.quoted(), route.name.quoted());
            let diagnostic = Diagnostic::error(&route.name.span, message)
                .related(&first.name.span, "first here")
                .help("make them differ in `hosts`, `paths`, `methods` or `headers`, or give one a `priority`");
            diagnostics.push(diagnostic);
            continue;
        }
        whole.insert(key, route);
        for path in &route.paths {
            let key = format!("{conditions} path {}", path.identity());
            match single.get(&key) {
                Some((first, span)) => {
                    let message = format!(
                        "the path {} never gets to the route {}: {} comes first",
                        path.quoted(),
                        route.name.quoted(),
                        first.name.quoted()
                    );
                    let diagnostic = Diagnostic::warning(&path.span, message);
                    diagnostics.push(diagnostic.related(span, "first here"));
                }
                None => {
                    single.insert(key, (route, &path.span));
                }
            }
        }
    }
}

/// Those that could match the same as another one. To compare the conditions of all would take longer than to read them.
fn sharing_a_path(routes: &[Route]) -> impl Iterator<Item = &Route> {
    let mut times: HashMap<Cow<'_, str>, usize, ahash::RandomState> = HashMap::default();
    for path in routes.iter().flat_map(|route| &route.paths) {
        *times.entry(path.identity()).or_default() += 1;
    }
    let is_shared = move |path: &Spanned<PathPattern>| times.get(&path.identity()).is_some_and(|times| *times > 1);
    routes.iter().filter(move |route| route.paths.is_empty() || route.paths.iter().any(&is_shared))
}

/// Everything a route asks of a request but its path, in one order whatever the order written.
fn conditions(route: &Route) -> String {
    let mut out = String::new();
    let listeners = route.listeners.iter().map(|name| name.to_string());
    let protocols = route.protocols.iter().map(|protocol| protocol.as_str());
    let headers = route.headers.iter().map(|(n, v)| format!("{n:?}{}", sorted(v)));
    let query = route.query.iter().map(|(n, v)| format!("{n:?}{}", sorted(v)));
    // Writing to a String can't fail.
    let _ = write!(
        out,
        "{} {} hosts {} methods {} protocols {} listeners {} headers {} query {}",
        route.priority,
        route.regex_priority,
        sorted(route.hosts.iter().map(|host| format!("{host:?}"))),
        sorted(&route.methods),
        sorted(protocols),
        sorted(listeners),
        sorted(headers),
        sorted(query),
    );
    out
}

fn sorted(items: impl IntoIterator<Item = impl Display>) -> String {
    let mut items: Vec<_> = items.into_iter().map(|item| item.to_string()).collect();
    items.sort();
    items.dedup();
    format!("{items:?}")
}
