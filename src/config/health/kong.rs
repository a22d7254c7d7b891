//! Kong's upstreams: `algorithm`, `hash_on`, `healthchecks`, with Kong's defaults, as our own types.
//!
//! From the entity reference of Kong Gateway 3.x. Active checks are off while both intervals are 0, as there. A passive check
//! without a threshold is off in Kong; here ejection goes on then, so that a dead target does not stay in use.

use std::time::Duration;

use http::HeaderName;

use super::super::diagnostic::Diagnostics;
use super::super::keys;
use super::super::node::Node;
use super::super::table::Table;
use super::{ActiveCheck, Algorithm, HashOn, PassiveCheck, Probe, count, statuses};

/// What an upstream says about its targets.
#[derive(Clone, Debug, Default)]
pub(in crate::config) struct Kong {
    pub algorithm: Algorithm,
    pub active: Option<ActiveCheck>,
    pub passive: PassiveCheck,
}

pub(in crate::config) fn kong(table: &Table<'_>, diagnostics: &mut Diagnostics) -> Kong {
    let mut kong = Kong { algorithm: algorithm(table, diagnostics), ..Kong::default() };
    if let Some(node) = table.get("healthchecks")
        && let Some(checks) = Table::open(node, &keys::KONG_HEALTH, diagnostics)
    {
        kong.active = checks.get("active").and_then(|node| active(node, diagnostics));
        if let Some(node) = checks.get("passive") {
            passive(node, &mut kong.passive, diagnostics);
        }
    }
    kong
}

fn algorithm(table: &Table<'_>, diagnostics: &mut Diagnostics) -> Algorithm {
    let hash_on = table.string("hash_on", diagnostics);
    let header = table.string("hash_on_header", diagnostics);
    let cookie = table.string("hash_on_cookie", diagnostics);
    let Some(algorithm) = table.string("algorithm", diagnostics) else {
        return Algorithm::RoundRobin;
    };
    match algorithm.value.as_str() {
        "round-robin" => Algorithm::RoundRobin,
        "least-connections" => Algorithm::LeastRequests,
        "consistent-hashing" => {
            let named = header.and_then(|name| HeaderName::from_bytes(name.as_bytes()).ok());
            match (hash_on.as_ref().map(|on| on.value.as_str()), named, cookie) {
                (Some("header"), Some(name), _) => Algorithm::Hash(HashOn::Header(name)),
                (Some("cookie"), _, Some(name)) => Algorithm::Hash(HashOn::Cookie(name.value)),
                (Some("path"), ..) => Algorithm::Hash(HashOn::Path),
                (Some("ip"), ..) => Algorithm::Hash(HashOn::Ip),
                _ => {
                    let message = "hashing on this has no effect: targets take turns by weight";
                    diagnostics.warning(hash_on.as_ref().map_or(&algorithm.span, |on| &on.span), message);
                    Algorithm::RoundRobin
                }
            }
        }
        _ => {
            let message = format!("{} has no effect: targets take turns by weight", algorithm.quoted());
            diagnostics.warning(&algorithm.span, message);
            Algorithm::RoundRobin
        }
    }
}

fn active(node: &Node, diagnostics: &mut Diagnostics) -> Option<ActiveCheck> {
    let table = Table::open(node, &keys::KONG_ACTIVE, diagnostics)?;
    let section = |key| table.get(key);
    let mut check = ActiveCheck {
        probe: match table.string("type", diagnostics).as_ref().map(|kind| kind.value.as_str()) {
            Some("tcp") => Probe::Tcp,
            _ => Probe::Http(table.string("http_path", diagnostics).map_or("/".to_owned(), |path| path.value)),
        },
        interval: Duration::ZERO,
        unhealthy_interval: Duration::ZERO,
        timeout: seconds(&table, "timeout", diagnostics).unwrap_or(Duration::from_secs(1)),
        successes: 0,
        http_failures: 0,
        tcp_failures: 0,
        timeouts: 0,
        expected: vec![200..=200, 302..=302],
        unexpected: Some(vec![429..=429, 404..=404, 500..=505]),
    };
    if let Some(healthy) = section("healthy").and_then(|node| Table::open(node, &keys::KONG_HEALTHY, diagnostics)) {
        check.interval = seconds(&healthy, "interval", diagnostics).unwrap_or_default();
        check.successes = count(&healthy, "successes", diagnostics).unwrap_or(0);
        if let Some(node) = healthy.get("http_statuses") {
            check.expected = statuses(node, diagnostics);
        }
    }
    if let Some(bad) = section("unhealthy").and_then(|node| Table::open(node, &keys::KONG_UNHEALTHY, diagnostics)) {
        check.unhealthy_interval = seconds(&bad, "interval", diagnostics).unwrap_or_default();
        check.http_failures = count(&bad, "http_failures", diagnostics).unwrap_or(0);
        check.tcp_failures = count(&bad, "tcp_failures", diagnostics).unwrap_or(0);
        check.timeouts = count(&bad, "timeouts", diagnostics).unwrap_or(0);
        if let Some(node) = bad.get("http_statuses") {
            check.unexpected = Some(statuses(node, diagnostics));
        }
    }
    // One of them alone would take a target out and never back in, or never look while it is up.
    let both = check.interval.max(check.unhealthy_interval);
    for interval in [&mut check.interval, &mut check.unhealthy_interval] {
        if interval.is_zero() {
            *interval = both;
        }
    }
    (!both.is_zero()).then_some(check)
}

fn passive(node: &Node, check: &mut PassiveCheck, diagnostics: &mut Diagnostics) {
    let Some(table) = Table::open(node, &keys::KONG_PASSIVE, diagnostics) else { return };
    // Opened for its keys alone: a success always begins the counters anew.
    let _ = table.get("healthy").and_then(|node| Table::open(node, &keys::KONG_HEALTHY, diagnostics));
    let Some(node) = table.get("unhealthy") else { return };
    let Some(bad) = Table::open(node, &keys::KONG_UNHEALTHY, diagnostics) else { return };
    check.http_failures = count(&bad, "http_failures", diagnostics).unwrap_or(0);
    check.tcp_failures = count(&bad, "tcp_failures", diagnostics).unwrap_or(0);
    check.timeouts = count(&bad, "timeouts", diagnostics).unwrap_or(0);
    if check.http_failures + check.tcp_failures + check.timeouts > 0 {
        check.failures = 0;
        check.max_ejected = 100;
        check.statuses = vec![429, 500, 503];
    }
    if let Some(node) = bad.get("http_statuses") {
        check.statuses = statuses(node, diagnostics).into_iter().flatten().collect();
    }
}

/// Kong's intervals are seconds, with a fraction if need be.
fn seconds(table: &Table<'_>, key: &str, diagnostics: &mut Diagnostics) -> Option<Duration> {
    let node = table.get(key)?;
    let seconds = node.as_number().and_then(|number| number.as_f64()).filter(|n| (0.0..=65_535.0).contains(n));
    if seconds.is_none() {
        super::mismatch(node, "a number of seconds", diagnostics);
    }
    seconds.map(Duration::from_secs_f64)
}
