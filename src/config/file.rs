//! The file as a whole: its sections decoded in an order in which each finds what it refers to.

use std::net::IpAddr;
use std::path::Path;

use http::HeaderName;
use ipnet::IpNet;

use super::access_log;
use super::diagnostic::{Diagnostic, Diagnostics};
use super::listener::{self, each};
use super::mirror;
use super::node::Node;
use super::plugin_use::{self, Scope};
use super::route::{self, Written};
use super::service::{self, Service};
use super::source::Spanned;
use super::table::{Table, string};
use super::traces;
use super::upstream;
use super::{Command, Config, Dev, PluginsDir, Route, Secret, compression, dns, drain, keys, limits};

/// What decoders must know of the file around them.
pub(super) struct File<'f> {
    /// What relative paths are relative to.
    pub directory: &'f Path,
    /// Kong's files before format version 3.0 don't mark regular expressions with `~`.
    pub guesses_regex: bool,
}

pub(super) fn config(root: &Node, directory: &Path, diagnostics: &mut Diagnostics) -> Option<Config> {
    let table = Table::open(root, &keys::FILE, diagnostics)?;
    let file = File { directory, guesses_regex: is_before_kong_3(&table) };
    let listeners = listener::listeners(table.get("listen"), directory, diagnostics);
    let (services, routes) = services_and_routes(&table, &file, diagnostics);
    let mut config = Config {
        admin: listener::admin(table.get("admin"), &listeners, diagnostics),
        listeners,
        workers: listener::workers(table.get("workers"), diagnostics),
        access_log: access_log::access_log(table.get("access_log"), directory, diagnostics),
        traces: traces::traces(table.get("traces"), diagnostics),
        redis: redis(&table, diagnostics),
        dns: dns::dns(table.get("dns"), diagnostics),
        plugins_dir: plugins_dir(&table, directory, diagnostics),
        trusted_proxies: trusted_proxies(&table, diagnostics),
        identity_headers: identity_headers(&table, diagnostics),
        limits: limits::limits(table.get("limits"), diagnostics),
        drain: drain::drain(table.get("drain"), diagnostics),
        compression: compression::compression(table.get("compression"), diagnostics),
        services,
        routes,
        plugins: Vec::new(),
        dev: dev(&table, diagnostics),
    };
    let scoped = plugin_use::scoped(table.get("plugins"), directory, diagnostics);
    place_plugins(&mut config, scoped, diagnostics);
    super::check::check(&config, diagnostics);
    config.leave_out_disabled();
    Some(config)
}

fn is_before_kong_3(table: &Table<'_>) -> bool {
    let version = table.get("_format_version");
    let text = version.map(|node| node.as_str().unwrap_or(node.span.text()));
    matches!(text, Some("1.1" | "2.1" | "1.0" | "2.0"))
}

fn services_and_routes(
    table: &Table<'_>,
    file: &File<'_>,
    diagnostics: &mut Diagnostics,
) -> (Vec<Service>, Vec<Route>) {
    let upstreams = upstream::upstreams(table, diagnostics);
    let mut services: Vec<Service> = Vec::new();
    let mut routes = Vec::new();
    for (index, node) in table.list("services", diagnostics).iter().enumerate() {
        let Some(service) = service::service(node, index, &upstreams, file, diagnostics) else {
            continue;
        };
        let own = node.get("routes").filter(|node| !node.is_null());
        let own = own.and_then(|node| super::table::list(node, diagnostics));
        let own = own.unwrap_or_default();
        routes.reserve(own.len());
        for (nth, node) in own.iter().enumerate() {
            let fallback = || service.route_name(nth, &node.span);
            let Some(mut written) = route::route(node, fallback, file, diagnostics) else {
                continue;
            };
            if let Some(named) = &written.service
                && named.value != service.name.value
            {
                let message = "a route below a service belongs to that one";
                diagnostics.error(&named.span, message);
            }
            written.route.service = Some(services.len());
            written.route.preserve_host = written.preserve_host.unwrap_or(service.preserve_host);
            routes.push(written);
        }
        services.push(service);
    }
    for (index, node) in table.list("routes", diagnostics).iter().enumerate() {
        let fallback = || Spanned::new(format!("route-{}", index + 1), node.span.clone());
        if let Some(mut written) = route::route(node, fallback, file, diagnostics) {
            find_service(&mut written, &services, diagnostics);
            routes.push(written);
        }
    }
    for written in &mut routes {
        place_split(written, &services, diagnostics);
        mirror::place(written, &services, diagnostics);
    }
    (services, named_apart(routes))
}

fn find_service(written: &mut Written, services: &[Service], diagnostics: &mut Diagnostics) {
    let Some(wanted) = &written.service else {
        return;
    };
    let found = services.iter().position(|s| s.name.value == wanted.value || s.id.as_ref() == Some(&wanted.value));
    match found {
        Some(index) => {
            written.route.service = Some(index);
            let inherited = services[index].preserve_host;
            written.route.preserve_host = written.preserve_host.unwrap_or(inherited);
        }
        None => {
            let names = services.iter().map(|service| &service.name);
            diagnostics.push(Diagnostic::undefined("service", wanted, names));
        }
    }
}

fn place_split(written: &mut Written, services: &[Service], diagnostics: &mut Diagnostics) {
    let Some(traffic) = &mut written.route.traffic else { return };
    for (wanted, weight) in &written.split {
        match services.iter().position(|service| service.name.value == wanted.value) {
            Some(index) => traffic.split.push((index, *weight)),
            None => {
                let names = services.iter().map(|service| &service.name);
                diagnostics.push(Diagnostic::undefined("service", wanted, names));
            }
        }
    }
    // Its deadline and `Host` rule are those of the first, until one is chosen.
    if written.route.service.is_none() {
        written.route.service = traffic.split.first().map(|(index, _)| *index);
    }
}

/// Gives generated names that clash with others a further number; users' own names are left to the checks.
fn named_apart(written: Vec<Written>) -> Vec<Route> {
    if written.iter().all(|w| w.named) {
        return written.into_iter().map(|w| w.route).collect();
    }
    let mut taken: std::collections::HashSet<String> =
        written.iter().filter(|w| w.named).map(|w| w.route.name.value.clone()).collect();
    let apart = |mut w: Written| {
        if !w.named {
            let base = w.route.name.value.clone();
            let mut number = 2;
            while !taken.insert(w.route.name.value.clone()) {
                w.route.name.value = format!("{base}-{number}");
                number += 1;
            }
        }
        w.route
    };
    written.into_iter().map(apart).collect()
}

/// Puts each entry of the list at the top where it belongs.
fn place_plugins(config: &mut Config, scoped: Vec<(plugin_use::PluginUse, Scope)>, diagnostics: &mut Diagnostics) {
    for (plugin, scope) in scoped {
        match scope {
            Scope::Everywhere => config.plugins.push(plugin),
            Scope::Nowhere => {}
            Scope::Service(wanted) => {
                let is_it = |s: &&mut Service| s.name.value == wanted.value || s.id.as_ref() == Some(&wanted.value);
                match config.services.iter_mut().find(is_it) {
                    Some(service) => service.plugins.push(plugin),
                    None => {
                        let names = config.services.iter().map(|s| &s.name);
                        diagnostics.push(Diagnostic::undefined("service", &wanted, names));
                    }
                }
            }
            Scope::Route(wanted) => {
                let is_it = |r: &&mut Route| r.name.value == wanted.value || r.id.as_ref() == Some(&wanted.value);
                match config.routes.iter_mut().find(is_it) {
                    Some(route) => route.plugins.push(plugin),
                    None => {
                        let names = config.routes.iter().map(|r| &r.name);
                        diagnostics.push(Diagnostic::undefined("route", &wanted, names));
                    }
                }
            }
        }
    }
    plugin_use::check_distinct(&config.plugins, diagnostics);
    let services = config.services.iter().map(|service| &service.plugins);
    for plugins in services.chain(config.routes.iter().map(|route| &route.plugins)) {
        plugin_use::check_distinct(plugins, diagnostics);
    }
}

/// The URL of the shared store. Only its scheme is checked here, and it is never shown: it may hold a password.
fn redis(table: &Table<'_>, diagnostics: &mut Diagnostics) -> Option<Spanned<Secret>> {
    let url = table.string("redis", diagnostics)?;
    if url.trim().is_empty() {
        return None;
    }
    let diagnostic = match url.split_once("://").map(|(scheme, _)| scheme) {
        Some("redis" | "unix" | "redis+unix") => {
            return Some(Spanned::new(Secret(url.value), url.span));
        }
        Some("rediss") => Diagnostic::error(&url.span, "TLS to Redis (`rediss://`) is not there yet"),
        _ => Diagnostic::error(&url.span, "not the URL of a Redis").help("write it like `redis://127.0.0.1:6379/0`"),
    };
    diagnostics.push(diagnostic);
    None
}

fn plugins_dir(table: &Table<'_>, directory: &Path, diagnostics: &mut Diagnostics) -> PluginsDir {
    let Some(text) = table.name("plugins_dir", diagnostics) else {
        return PluginsDir { path: directory.join("plugins"), written: None };
    };
    let path = directory.join(&text.value);
    if !path.is_dir() {
        let message = format!("the plugin folder {} does not exist", text.quoted());
        diagnostics.error(&text.span, message);
    }
    PluginsDir { path, written: Some(text.span) }
}

fn trusted_proxies(table: &Table<'_>, diagnostics: &mut Diagnostics) -> Vec<IpNet> {
    each(table.get("trusted_proxies"), diagnostics, |text| {
        text.parse::<IpNet>()
            .or_else(|_| text.parse::<IpAddr>().map(IpNet::from))
            .map(|net| net.trunc())
            .map_err(|_| "is not a network such as `10.0.0.0/8`".to_owned())
    })
    .unwrap_or_default()
}

/// In lower case, by the type. An empty list is the user's word that nothing is identity.
fn identity_headers(table: &Table<'_>, diagnostics: &mut Diagnostics) -> Vec<HeaderName> {
    each(table.get("identity_headers"), diagnostics, |text| {
        HeaderName::from_bytes(text.as_bytes()).map_err(|_| "is not a header name".to_owned())
    })
    .unwrap_or_else(|| vec![HeaderName::from_static("x-user-id"), HeaderName::from_static("x-user-email")])
}

fn dev(table: &Table<'_>, diagnostics: &mut Diagnostics) -> Option<Dev> {
    let table = Table::open(table.get("dev")?, &keys::DEV, diagnostics)?;
    let mut commands = Vec::new();
    for node in table.list("try", diagnostics) {
        let Some(entry) = Table::open(node, &keys::TRY, diagnostics) else {
            continue;
        };
        let mut text = |key: &str| {
            if entry.get(key).is_none() {
                entry.missing(format!("an entry of `try` needs a `{key}`"), diagnostics);
            }
            entry.get(key).and_then(|node| string(node, diagnostics))
        };
        let (title, curl) = (text("title"), text("curl"));
        if let (Some(title), Some(curl)) = (title, curl) {
            commands.push(Command { title: title.value, curl: curl.value });
        }
    }
    Some(Dev { commands })
}
