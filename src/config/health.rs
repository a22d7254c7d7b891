//! Which targets of a service are used and when: balancing, health checks, the circuit breaker, retries.
//!
//! Ours are keys of a service; Kong's stand in an upstream and become the same types. Numbers only: what they do is in
//! `balance`. Every default is that of the peer named beside it.

mod kong;

pub(super) use kong::{Kong, kong};

use std::ops::RangeInclusive;
use std::time::Duration;

use http::{HeaderName, Method};

use super::diagnostic::Diagnostics;
use super::keys;
use super::node::Node;
use super::route::methods;
use super::source::Spanned;
use super::table::{Table, integer, list, mismatch};

/// How one of several targets is chosen.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub enum Algorithm {
    /// In turns, by weight.
    #[default]
    RoundRobin,
    /// Of two at random the one with fewer requests in flight for its weight.
    LeastRequests,
    /// The same target for the same key.
    Hash(HashOn),
}

/// What is hashed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HashOn {
    Ip,
    Header(HeaderName),
    Cookie(String),
    Path,
}

/// What is looked at from outside, and how often.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ActiveCheck {
    pub probe: Probe,
    /// While the target is up. Default 5 s.
    pub interval: Duration,
    /// While it is down. Default: as `interval`.
    pub unhealthy_interval: Duration,
    /// Of one check. Default 1 s, as in Kong.
    pub timeout: Duration,
    /// Good checks in a row until it is up again; 0: never. Default 2, as in HAProxy.
    pub successes: u32,
    /// Bad statuses in a row until it is down; 0: never. Default 3, as in HAProxy.
    pub http_failures: u32,
    /// The same for connections that fail.
    pub tcp_failures: u32,
    /// The same for checks that take too long.
    pub timeouts: u32,
    /// Statuses that are good. Default 200 to 399.
    pub expected: Vec<RangeInclusive<u16>>,
    /// Statuses that are bad; all that are not good when absent.
    pub unexpected: Option<Vec<RangeInclusive<u16>>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Probe {
    /// A GET of this path and query.
    Http(String),
    /// A connection is enough.
    Tcp,
}

/// What real requests tell. A threshold of 0 is switched off; a success begins all of them anew.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PassiveCheck {
    /// Failures of any kind in a row. Default 5, as in Envoy.
    pub failures: u32,
    pub http_failures: u32,
    pub tcp_failures: u32,
    pub timeouts: u32,
    /// Of its requests in `window`, in percent, whether in a row or not; absent: no limit. Envoy's `failure_percentage`, which is not
    /// enforced by default either.
    pub failure_rate: Option<u32>,
    /// How far its share of successes may lie below the mean of all targets, in thousandths of a standard deviation; absent: no limit.
    /// Envoy's `success_rate_stdev_factor`, which is enforced there where outliers are looked for at all.
    pub max_deviation: Option<u32>,
    /// In the window, before the rate means something. Default 50, as Envoy's `failure_percentage_request_volume`.
    pub min_requests: u32,
    /// Default 10 s, as Envoy's `interval`.
    pub window: Duration,
    /// Statuses that are failures. Default 500, 502, 503, 504.
    pub statuses: Vec<u16>,
    /// How long a target is left out, times the ejections in a row. Default 30 s, as in Envoy.
    pub eject_for: Duration,
    /// Default 300 s, as in Envoy.
    pub max_eject_for: Duration,
    /// How many of the targets, in percent, but at least one. Targets that refuse connections are not counted. Default 10.
    pub max_ejected: u32,
}

/// When a service is left alone. Defaults are Resilience4j's, over a shorter window.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CircuitBreaker {
    /// In percent. Default 50.
    pub failure_rate: u32,
    /// Default 10 s.
    pub window: Duration,
    /// Default 20.
    pub min_requests: u32,
    /// Default 5 s.
    pub open_for: Duration,
    /// From which on an answer is slow; absent: never.
    pub slow_call: Option<Duration>,
    /// In percent. Default 100.
    pub slow_rate: u32,
    /// Real requests that are let through before it closes again. Default 3.
    pub half_open_requests: u32,
    /// How long, after it closed, the share of requests grows that are let through; absent: all at once.
    pub recover_over: Option<Duration>,
    /// Requests at the same time; more are answered with 503. 0: no limit.
    pub max_concurrent: u32,
    /// Tries at the same time to one target, each on a connection of its own; more wait. 0: no limit.
    pub max_connections: u32,
    /// Tries that wait for a connection to one target; more are answered with 503. Default 1024, as in Envoy.
    pub max_pending: u32,
    /// The same for each target; absent: switched off.
    pub targets: Option<Box<CircuitBreaker>>,
}

/// What is tried again besides failed connections.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetryOn {
    pub reset: bool,
    /// Tries that took longer than `per_try_timeout` or another of its timeouts, while there is time left.
    pub timeout: bool,
    pub statuses: Vec<u16>,
    /// Which are sent again although a target may have begun with them; absent: the idempotent ones.
    pub methods: Option<Vec<Method>>,
}

impl PassiveCheck {
    /// Whether requests are counted that do not fail, too.
    pub fn counts_all(&self) -> bool {
        self.failure_rate.is_some() || self.max_deviation.is_some()
    }
}

impl Default for PassiveCheck {
    fn default() -> PassiveCheck {
        PassiveCheck {
            failures: 5,
            http_failures: 0,
            tcp_failures: 0,
            timeouts: 0,
            failure_rate: None,
            max_deviation: None,
            min_requests: 50,
            window: Duration::from_secs(10),
            statuses: vec![500, 502, 503, 504],
            eject_for: Duration::from_secs(30),
            max_eject_for: Duration::from_secs(300),
            max_ejected: 10,
        }
    }
}

impl Default for CircuitBreaker {
    fn default() -> CircuitBreaker {
        CircuitBreaker {
            failure_rate: 50,
            window: Duration::from_secs(10),
            min_requests: 20,
            open_for: Duration::from_secs(5),
            slow_call: None,
            slow_rate: 100,
            half_open_requests: 3,
            recover_over: None,
            max_concurrent: 0,
            max_connections: 0,
            max_pending: 1024,
            targets: None,
        }
    }
}

impl Default for RetryOn {
    fn default() -> RetryOn {
        RetryOn { reset: true, timeout: false, statuses: Vec::new(), methods: None }
    }
}

/// Decodes `balance` and `hash_on` of a service.
pub(super) fn algorithm(table: &Table<'_>, diagnostics: &mut Diagnostics) -> Option<Algorithm> {
    let hashed = table.string("hash_on", diagnostics);
    let node = table.get("balance")?;
    let algorithm = match node.as_str() {
        Some("round_robin") => Algorithm::RoundRobin,
        Some("least_requests") => Algorithm::LeastRequests,
        Some("hash") => match &hashed {
            Some(text) => return hash_on(text, diagnostics).map(Algorithm::Hash),
            None => Algorithm::Hash(HashOn::Ip),
        },
        _ => {
            mismatch(node, "`round_robin`, `least_requests` or `hash`", diagnostics);
            return None;
        }
    };
    if let Some(text) = hashed {
        diagnostics.warning(&text.span, "`hash_on` has no effect without `balance: hash`");
    }
    Some(algorithm)
}

fn hash_on(text: &Spanned<String>, diagnostics: &mut Diagnostics) -> Option<HashOn> {
    let found = match text.split_once(':') {
        None if text.value == "ip" => Some(HashOn::Ip),
        None if text.value == "path" => Some(HashOn::Path),
        Some(("header", name)) => HeaderName::from_bytes(name.as_bytes()).ok().map(HashOn::Header),
        Some(("cookie", name)) if !name.is_empty() => Some(HashOn::Cookie(name.to_owned())),
        _ => None,
    };
    if found.is_none() {
        let message = format!("{} can't be hashed: `ip`, `path`, `header:NAME` or `cookie:NAME` can", text.quoted());
        diagnostics.error(&text.span, message);
    }
    found
}

/// Decodes `health` of a service: what is looked at from outside, and what real requests tell.
pub(super) fn health(
    node: Option<&Node>,
    diagnostics: &mut Diagnostics,
) -> (Option<ActiveCheck>, Option<PassiveCheck>) {
    let unchecked = (None, Some(PassiveCheck::default()));
    let Some(node) = node else { return unchecked };
    if is_off(node) {
        return (None, None);
    }
    let Some(table) = Table::open(node, &keys::HEALTH, diagnostics) else { return unchecked };
    let passive = match table.get("passive") {
        Some(node) if is_off(node) => None,
        Some(node) => Some(passive(node, diagnostics)),
        None => Some(PassiveCheck::default()),
    };
    (active(&table, diagnostics), passive)
}

fn active(table: &Table<'_>, diagnostics: &mut Diagnostics) -> Option<ActiveCheck> {
    let probe = probe(table, diagnostics);
    let interval = table.duration("interval", diagnostics).unwrap_or(Duration::from_secs(5));
    let failures = count(table, "unhealthy_threshold", diagnostics).unwrap_or(3);
    let expected = table.get("expected_status").map(|node| statuses(node, diagnostics));
    let check = ActiveCheck {
        probe: Probe::Tcp,
        interval,
        unhealthy_interval: table.duration("unhealthy_interval", diagnostics).unwrap_or(interval),
        timeout: table.duration("timeout", diagnostics).unwrap_or(Duration::from_secs(1)),
        successes: count(table, "healthy_threshold", diagnostics).unwrap_or(2),
        http_failures: failures,
        tcp_failures: failures,
        timeouts: failures,
        expected: expected.unwrap_or_else(|| vec![200..=399]),
        unexpected: None,
    };
    // Only now, so that every mistake beside it was seen.
    probe.map(|probe| ActiveCheck { probe, ..check })
}

fn probe(table: &Table<'_>, diagnostics: &mut Diagnostics) -> Option<Probe> {
    let tcp = table.boolean("tcp", diagnostics).unwrap_or(false);
    let Some(path) = table.string("path", diagnostics) else {
        return tcp.then_some(Probe::Tcp);
    };
    if tcp {
        diagnostics.error(&path.span, "a health check has a `path` or `tcp: true`, not both");
        return None;
    }
    checked_path(&path, diagnostics).map(Probe::Http)
}

fn checked_path(path: &Spanned<String>, diagnostics: &mut Diagnostics) -> Option<String> {
    if path.starts_with('/') && path.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#') {
        return Some(path.value.clone());
    }
    diagnostics.error(&path.span, format!("{} is not a path to check", path.quoted()));
    None
}

fn passive(node: &Node, diagnostics: &mut Diagnostics) -> PassiveCheck {
    let mut check = PassiveCheck::default();
    let Some(table) = Table::open(node, &keys::PASSIVE, diagnostics) else { return check };
    let mut set = |key, into: &mut u32| *into = count(&table, key, diagnostics).unwrap_or(*into);
    set("failures", &mut check.failures);
    set("http_failures", &mut check.http_failures);
    set("tcp_failures", &mut check.tcp_failures);
    set("timeouts", &mut check.timeouts);
    check.failure_rate = percent(&table, "failure_rate", diagnostics);
    check.max_deviation = deviation(&table, diagnostics);
    check.min_requests = at_least_one(&table, "min_requests", diagnostics).unwrap_or(check.min_requests);
    check.window = table.duration("window", diagnostics).unwrap_or(check.window);
    check.eject_for = table.duration("eject_for", diagnostics).unwrap_or(check.eject_for);
    check.max_eject_for = table.duration("max_eject_for", diagnostics).unwrap_or(check.max_eject_for);
    check.max_ejected = percent(&table, "max_ejected", diagnostics).unwrap_or(check.max_ejected);
    if let Some(node) = table.get("statuses") {
        check.statuses = statuses(node, diagnostics).into_iter().flatten().collect();
    }
    check
}

fn deviation(table: &Table<'_>, diagnostics: &mut Diagnostics) -> Option<u32> {
    let node = table.get("max_deviation")?;
    match node.as_f64() {
        Some(deviations) if (0.1..=100.0).contains(&deviations) => Some((deviations * 1_000.0).round() as u32),
        _ => {
            mismatch(node, "a number from 0.1 to 100", diagnostics);
            None
        }
    }
}

/// Decodes `circuit_breaker`; none when it is switched off.
pub(super) fn circuit_breaker(node: Option<&Node>, diagnostics: &mut Diagnostics) -> Option<CircuitBreaker> {
    let mut breaker = CircuitBreaker::default();
    let Some(node) = node else { return Some(breaker) };
    if is_off(node) {
        return None;
    }
    let Some(table) = Table::open(node, &keys::BREAKER, diagnostics) else { return Some(breaker) };
    rates(&table, &mut breaker, diagnostics);
    breaker.recover_over = table.duration("recover_over", diagnostics);
    breaker.max_concurrent = count(&table, "max_concurrent", diagnostics).unwrap_or(0);
    breaker.max_connections = count(&table, "max_connections", diagnostics).unwrap_or(0);
    breaker.max_pending = count(&table, "max_pending", diagnostics).unwrap_or(breaker.max_pending);
    if let Some(node) = table.get("targets").filter(|node| !is_off(node))
        && let Some(table) = Table::open(node, &keys::TARGET_BREAKER, diagnostics)
    {
        // What is not written is as for the service.
        let mut own = CircuitBreaker { recover_over: None, ..breaker.clone() };
        rates(&table, &mut own, diagnostics);
        breaker.targets = Some(Box::new(own));
    }
    Some(breaker)
}

fn rates(table: &Table<'_>, breaker: &mut CircuitBreaker, diagnostics: &mut Diagnostics) {
    breaker.failure_rate = percent(table, "failure_rate", diagnostics).unwrap_or(breaker.failure_rate);
    breaker.window = table.duration("window", diagnostics).unwrap_or(breaker.window);
    breaker.min_requests = at_least_one(table, "min_requests", diagnostics).unwrap_or(breaker.min_requests);
    breaker.open_for = table.duration("open_for", diagnostics).unwrap_or(breaker.open_for);
    breaker.slow_call = table.duration("slow_call", diagnostics).or(breaker.slow_call);
    breaker.slow_rate = percent(table, "slow_rate", diagnostics).unwrap_or(breaker.slow_rate);
    let probes = at_least_one(table, "half_open_requests", diagnostics);
    breaker.half_open_requests = probes.unwrap_or(breaker.half_open_requests);
}

/// Decodes `retry_on` and `retry_methods`. `connect` may be listed for completeness: it is always so. A limit for each try would be of no use
/// if none could follow, so `timeout` is the default beside it.
pub(super) fn retry_on(table: &Table<'_>, limits_tries: bool, diagnostics: &mut Diagnostics) -> RetryOn {
    let methods = table.get("retry_methods").map(|_| methods(table, "retry_methods", diagnostics));
    if table.get("retry_on").is_none() {
        return RetryOn { timeout: limits_tries, methods, ..RetryOn::default() };
    }
    let mut on = RetryOn { reset: false, timeout: false, statuses: Vec::new(), methods };
    for node in table.list("retry_on", diagnostics) {
        match (node.as_str(), node.as_i64()) {
            (Some("connect"), _) => {}
            (Some("reset"), _) => on.reset = true,
            (Some("timeout"), _) => on.timeout = true,
            (_, Some(status @ 400..=599)) => on.statuses.push(status as u16),
            _ => mismatch(node, "`connect`, `reset`, `timeout` or a status from 400 to 599", diagnostics),
        }
    }
    on
}

/// `off`, which in YAML 1.2 is a string, or `false`.
fn is_off(node: &Node) -> bool {
    node.as_str() == Some("off") || node.as_bool() == Some(false)
}

fn count(table: &Table<'_>, key: &str, diagnostics: &mut Diagnostics) -> Option<u32> {
    table.integer(key, 0..=1_000_000, diagnostics).and_then(|n| u32::try_from(n).ok())
}

fn at_least_one(table: &Table<'_>, key: &str, diagnostics: &mut Diagnostics) -> Option<u32> {
    table.integer(key, 1..=1_000_000, diagnostics).and_then(|n| u32::try_from(n).ok())
}

fn percent(table: &Table<'_>, key: &str, diagnostics: &mut Diagnostics) -> Option<u32> {
    table.integer(key, 1..=100, diagnostics).and_then(|n| u32::try_from(n).ok())
}

/// A status, a range such as `200-299`, or a list of them.
fn statuses(node: &Node, diagnostics: &mut Diagnostics) -> Vec<RangeInclusive<u16>> {
    if node.as_list().is_some() {
        let items = list(node, diagnostics).unwrap_or_default();
        return items.iter().flat_map(|item| statuses(item, diagnostics)).collect();
    }
    if let Some((low, high)) = node.as_str().and_then(|text| text.split_once('-'))
        && let (Ok(low @ 100..=599), Ok(high @ 100..=599)) = (low.trim().parse::<u16>(), high.trim().parse::<u16>())
    {
        return vec![low..=high];
    }
    let one = integer(node, 100..=599, diagnostics).and_then(|status| u16::try_from(status).ok());
    one.map(|status| status..=status).into_iter().collect()
}
