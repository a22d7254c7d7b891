//! Services: backends with their targets and timeouts, in our form and in Kong's.

use std::time::Duration;

use super::File;
use super::diagnostic::{Diagnostic, Diagnostics};
use super::health::{self, ActiveCheck, Algorithm, CircuitBreaker, PassiveCheck, RetryOn};
use super::keys;
use super::node::Node;
use super::plugin_use::{PluginUse, plugins};
use super::source::{Span, Spanned};
use super::table::{Table, mismatch};
use super::target::{self, Protocol, Scheme, Target};
use super::upstream::Upstreams;
use super::upstream_tls::{UpstreamTls, upstream_tls};

/// A backend.
#[derive(Clone, Debug)]
pub struct Service {
    /// Unique; `service-1`, … by position when none is written.
    pub name: Spanned<String>,
    /// At least one, unless an error was reported; weights may be 0, not all of them.
    pub targets: Vec<Target>,
    /// Whether its targets speak HTTP/2; whether they speak TLS is theirs.
    pub http2: bool,
    /// For targets with `https`.
    pub tls: UpstreamTls,
    /// For the whole exchange with the service, retries included. Default 60 s; none: as long as it takes.
    pub timeout: Option<Duration>,
    /// Whether it was written: the default ends no stream that is one by its kind, such as events.
    pub times_streams: bool,
    /// Until a connection is made. Default 5 s: Kong's 60 s only delays the next try.
    pub connect_timeout: Duration,
    /// From the end of a request to the head of its answer. Default: as `read_timeout`, which is both in nginx and Kong; Varnish
    /// and Traefik tell them apart.
    pub first_byte_timeout: Duration,
    /// Between two reads. Default 60 s, as in Kong.
    pub read_timeout: Duration,
    /// From the begin of a try to the head of its answer, as in Envoy; absent: only the others.
    pub per_try_timeout: Option<Duration>,
    /// Between two writes. Default 60 s, as in Kong.
    pub write_timeout: Duration,
    /// Further tries. Default 0, where Kong has 5: a retry is a choice (Envoy's default).
    pub retries: u32,
    pub retry_on: RetryOn,
    pub algorithm: Algorithm,
    /// How long a target that has come back is given less than its share; absent: not at all.
    pub slow_start: Option<Duration>,
    /// Absent: the gateway does not look by itself.
    pub active_check: Option<ActiveCheck>,
    /// Absent: switched off.
    pub passive_check: Option<PassiveCheck>,
    /// Absent: switched off.
    pub circuit_breaker: Option<CircuitBreaker>,
    pub preserve_host: bool,
    /// False when its routes are not to be served.
    pub enabled: bool,
    pub plugins: Vec<PluginUse>,
    pub span: Span,
    /// Kong's, by which others may refer to it.
    pub(super) id: Option<String>,
}

impl Service {
    /// The name of its route at `index` (from 0) that has none of its own, at `span`.
    pub(super) fn route_name(&self, index: usize, span: &Span) -> Spanned<String> {
        let name = format!("{}-{}", self.name.value, index + 1);
        // The name of the service is in it, so it must not be shown where that isn't.
        let span = match self.name.span.is_expanded() {
            true => span.clone().expanded(),
            false => span.clone(),
        };
        Spanned::new(name, span)
    }
}

const DEFAULT_TIMEOUT: Duration = Duration::from_secs(60);
const DEFAULT_CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Decodes one entry of `services`, without its routes.
pub(super) fn service(
    node: &Node,
    index: usize,
    upstreams: &Upstreams,
    file: &File<'_>,
    diagnostics: &mut Diagnostics,
) -> Option<Service> {
    let table = Table::open(node, &keys::SERVICE, diagnostics)?;
    let name = table
        .name("name", diagnostics)
        .unwrap_or_else(|| Spanned::new(format!("service-{}", index + 1), node.span.clone()));
    let mut duration = |key, default| table.duration(key, diagnostics).unwrap_or(default);
    let connect_timeout = duration("connect_timeout", DEFAULT_CONNECT_TIMEOUT);
    let read_timeout = duration("read_timeout", DEFAULT_TIMEOUT);
    let write_timeout = duration("write_timeout", DEFAULT_TIMEOUT);
    let first_byte_timeout = duration("first_byte_timeout", read_timeout);
    let per_try_timeout = table.duration("per_try_timeout", diagnostics);
    let timeout = table.duration_or_off("timeout", diagnostics).unwrap_or(Some(DEFAULT_TIMEOUT));
    // 32767 is Kong's limit.
    let retries = table.integer("retries", 0..=32_767, diagnostics);
    let protocol = protocol(&table, diagnostics);
    let targets = targets(&table, protocol.as_ref(), upstreams, diagnostics);
    let tls = upstream_tls(&table, file.directory, diagnostics);
    if let Some(span) = table.key_span("tls")
        && !targets.is_empty()
        && targets.iter().all(|target| target.scheme == Scheme::Http)
    {
        diagnostics.warning(span, "`tls` has no effect: no target of this service has https");
    }
    let kong = table.string("host", &mut Diagnostics::default()).and_then(|host| upstreams.get(&host));
    let kong = kong.map(|upstream| &upstream.policy);
    let (mut active_check, mut passive_check) = health::health(table.get("health"), diagnostics);
    if let (None, Some(kong)) = (table.get("health"), kong) {
        (active_check, passive_check) = (kong.active.clone(), Some(kong.passive.clone()));
    }
    let algorithm = health::algorithm(&table, diagnostics).or_else(|| kong.map(|kong| kong.algorithm.clone()));
    Some(Service {
        active_check,
        passive_check,
        algorithm: algorithm.unwrap_or_default(),
        slow_start: table.duration("slow_start", diagnostics),
        circuit_breaker: health::circuit_breaker(table.get("circuit_breaker"), diagnostics),
        retry_on: health::retry_on(&table, per_try_timeout.is_some(), diagnostics),
        targets,
        http2: protocol.is_some_and(|protocol| protocol.is_http2()),
        tls,
        name,
        timeout,
        times_streams: table.get("timeout").is_some(),
        connect_timeout,
        first_byte_timeout,
        read_timeout,
        per_try_timeout,
        write_timeout,
        retries: retries.and_then(|n| u32::try_from(n).ok()).unwrap_or(0),
        preserve_host: table.boolean("preserve_host", diagnostics).unwrap_or(false),
        enabled: table.boolean("enabled", diagnostics).unwrap_or(true),
        plugins: plugins(table.get("plugins"), file.directory, diagnostics),
        span: node.span.clone(),
        id: table.string("id", diagnostics).map(|id| id.value),
    })
}

/// The targets of a service, from whichever of `url`, `targets` and `host` it has.
fn targets(
    table: &Table<'_>,
    protocol: Option<&Spanned<Protocol>>,
    upstreams: &Upstreams,
    diagnostics: &mut Diagnostics,
) -> Vec<Target> {
    let ways: Vec<_> = ["url", "targets", "host"].into_iter().filter(|key| table.get(key).is_some()).collect();
    if let [first, second, ..] = ways[..]
        && let Some(span) = table.key_span(second)
    {
        let message = format!("a service has `{first}` or `{second}`, not both");
        diagnostics.error(span, message);
        return Vec::new();
    }
    let port = port(table, diagnostics);
    let base = base_path(table, diagnostics);
    let targets: Vec<Target> = match ways.first() {
        Some(&"url") => from_url(table, &base, diagnostics).into_iter().collect(),
        Some(&"targets") => from_targets(table, &base, diagnostics),
        Some(_) => {
            let scheme = protocol.map_or(Scheme::Http, |protocol| protocol.scheme());
            from_host(table, scheme, port, &base, upstreams, diagnostics)
        }
        None => {
            let message = "a service needs a `url` or `targets`";
            table.missing(message, diagnostics);
            Vec::new()
        }
    };
    if let Some(protocol) = protocol
        && let Some(target) = targets.iter().find(|target| target.scheme != protocol.scheme())
    {
        let (has, wants) = (target.scheme.as_str(), protocol.scheme().as_str());
        let message = format!("the URL has {has}, and the `protocol` of its service needs {wants}");
        diagnostics.push(Diagnostic::error(&target.span, message).related(&protocol.span, "this one"));
    }
    targets
}

fn from_url(table: &Table<'_>, base: &str, diagnostics: &mut Diagnostics) -> Option<Target> {
    let text = table.string("url", diagnostics)?;
    let url = target::url(&text, diagnostics)?;
    Some(Target {
        scheme: url.scheme,
        host: url.host,
        port: url.port,
        path: format!("{}{base}", url.path),
        weight: 1,
        backup: false,
        span: text.span,
    })
}

fn from_targets(table: &Table<'_>, base: &str, diagnostics: &mut Diagnostics) -> Vec<Target> {
    let items = table.list("targets", diagnostics);
    let targets = target::targets(items, base, diagnostics);
    if let Some(span) = table.key_span("targets") {
        let list = table.get("targets").and_then(Node::as_list);
        if list.is_some_and(|items| items.is_empty()) {
            diagnostics.error(span, "a service needs at least one target");
        }
        check_weights(&targets, span, diagnostics);
    }
    targets
}

/// Kong's form: a host and a port, or the name of an upstream in place of the host.
fn from_host(
    table: &Table<'_>,
    scheme: Scheme,
    port: Option<u16>,
    base: &str,
    upstreams: &Upstreams,
    diagnostics: &mut Diagnostics,
) -> Vec<Target> {
    let Some(host) = table.name("host", diagnostics) else {
        return Vec::new();
    };
    if let Some(upstream) = upstreams.get(&host) {
        let of_upstream = |target: &Target| Target { scheme, path: base.to_owned(), ..target.clone() };
        let targets: Vec<_> = upstream.targets.iter().map(of_upstream).collect();
        if targets.is_empty() {
            let message = format!("the upstream {} has no targets", host.quoted());
            diagnostics.error(&host.span, message);
        }
        check_weights(&targets, &upstream.name.span, diagnostics);
        return targets;
    }
    match target::host_and_port(&host, port.unwrap_or(scheme.default_port())) {
        Ok((name, _)) if !host.contains(':') || host.starts_with('[') => vec![Target {
            scheme,
            host: name,
            port: port.unwrap_or(scheme.default_port()),
            path: base.to_owned(),
            weight: 1,
            backup: false,
            span: host.span,
        }],
        Ok(_) => {
            let message = format!("the host {} has a port", host.quoted());
            let diagnostic = Diagnostic::error(&host.span, message);
            diagnostics.push(diagnostic.help("write the port as `port:`"));
            Vec::new()
        }
        Err(why) => {
            let message = format!("{} is not a host: {why}", host.quoted());
            diagnostics.error(&host.span, message);
            Vec::new()
        }
    }
}

fn protocol(table: &Table<'_>, diagnostics: &mut Diagnostics) -> Option<Spanned<Protocol>> {
    let node = table.get("protocol")?;
    let protocol = node.as_str().and_then(Protocol::parse);
    if protocol.is_none() {
        mismatch(node, Protocol::EXPECTED, diagnostics);
    }
    Some(Spanned::new(protocol?, node.span.clone()))
}

fn port(table: &Table<'_>, diagnostics: &mut Diagnostics) -> Option<u16> {
    let port = table.integer("port", 1..=65_535, diagnostics)?;
    u16::try_from(port).ok()
}

fn base_path(table: &Table<'_>, diagnostics: &mut Diagnostics) -> String {
    let Some(text) = table.string("path", diagnostics) else {
        return String::new();
    };
    target::base_path(&text).unwrap_or_else(|why| {
        let message = format!("{} does not go before a path: {why}", text.quoted());
        diagnostics.error(&text.span, message);
        String::new()
    })
}

fn check_weights(targets: &[Target], span: &Span, diagnostics: &mut Diagnostics) {
    let mut of_use = targets.iter().filter(|target| target.weight > 0).peekable();
    if of_use.peek().is_some() && of_use.all(|target| target.backup) {
        diagnostics.error(span, "every target is a backup: one that is used first is missing");
    }
    if !targets.is_empty() && targets.iter().all(|target| target.weight == 0) {
        diagnostics.error(span, "every target has weight 0: none would ever be chosen");
    }
}
