//! The sections about names, health, breakers and Kong's `healthchecks`, in the order of the reference.
//!
//! Only names, kinds and defaults; `config::health` decodes them, and `balance` is where they act.

use super::super::{Section, harmless, key, without};

#[rustfmt::skip]
pub const DNS: Section = Section {
    name: "dns",
    at: "dns",
    doc: "The names of targets are resolved again and again in the background. Each of several addresses of a name is a target of its own, with its own health, breaker and part of the name's weight; those of the rarer version of IP are used while no other is up. When a look fails, the last addresses stay in use.",
    keys: &[
        key("refresh", "duration", "5s", "from one look to the next"),
        key("servers", "list of addresses", "[]", "DNS servers, asked in this order instead of the system's; names are taken as they are written, without search domains or `/etc/hosts`"),
    ],
    kong: &[],
};

#[rustfmt::skip]
pub const HEALTH: Section = Section {
    name: "health",
    at: "services[].health",
    doc: "How the gateway finds out which targets can answer. With a `path` or `tcp: true` it looks by itself, at each of several addresses of a name and as requests would be sent there, TLS and version of HTTP included.",
    keys: &[
        key("path", "path", "", "asked for with GET"),
        key("tcp", "boolean", "false", "a connection is enough"),
        key("interval", "duration", "5s", "between two checks"),
        key("unhealthy_interval", "duration", "as `interval`", "while the target is down"),
        key("timeout", "duration", "1s", "of one check"),
        key("healthy_threshold", "number", "2", "good checks in a row until it is up"),
        key("unhealthy_threshold", "number", "3", "bad checks in a row until it is down"),
        key("expected_status", "status, range or list", "200-399", "what is good: `200`, `200-299`, `[200, 204]`"),
        key("passive", "passive checks, or `off`", "{}", "what real requests tell"),
    ],
    kong: &[],
};

#[rustfmt::skip]
pub const PASSIVE: Section = Section {
    name: "passive checks",
    at: "services[].health.passive",
    doc: "A target that fails in a row is left out for a while, then one real request tries it. 0 switches a number off.",
    keys: &[
        key("failures", "number", "5", "of any kind, in a row"),
        key("http_failures", "number", "0", "answers with one of `statuses`, in a row"),
        key("tcp_failures", "number", "0", "connections that fail or break, in a row"),
        key("timeouts", "number", "0", "in a row"),
        key("failure_rate", "percent", "", "of its requests in the window, in a row or not; no limit when it is left out"),
        key("max_deviation", "number", "", "standard deviations that its share of successes may lie below the mean of all targets, of at least five, and it must be 5 % at least; Envoy takes 1.9; no limit when it is left out"),
        key("min_requests", "number", "50", "in the window, before the rate or the share means something"),
        key("window", "duration", "10s", "of both"),
        key("statuses", "list of statuses", "[500, 502, 503, 504]", "which answers are failures"),
        key("eject_for", "duration", "30s", "how long it is left out, times the ejections in a row"),
        key("max_eject_for", "duration", "300s", "the longest time"),
        key("max_ejected", "percent", "10", "of the targets, but at least one; those that refuse connections go in any case"),
    ],
    kong: &[],
};

#[rustfmt::skip]
pub const BREAKER: Section = Section {
    name: "a circuit breaker",
    at: "services[].circuit_breaker",
    doc: "A service that fails too often is left alone: 503 with `Retry-After`. Then a few real requests try it.",
    keys: &[
        key("failure_rate", "percent", "50", "of the requests in the window; answers of 5xx, resets and timeouts count"),
        key("window", "duration", "10s", ""),
        key("min_requests", "number", "20", "in the window, before the rate means something"),
        key("open_for", "duration", "5s", "until a few requests are let through"),
        key("slow_call", "duration", "", "an answer that takes longer is slow"),
        key("slow_rate", "percent", "100", "of slow answers, with `slow_call`"),
        key("half_open_requests", "number", "3", "good answers until it is closed again"),
        key("recover_over", "duration", "", "how long, after that, the share of requests grows that are let through; the others are answered with 503"),
        key("max_concurrent", "number", "0", "requests at the same time; more are answered with 503; 0: no limit"),
        key("max_connections", "number", "0", "to one target, in use at the same time; more requests wait; 0: no limit; HTTP/2 shares connections, and counts requests"),
        key("max_pending", "number", "1024", "requests that wait for a connection to one target, for `connect_timeout` at most; more are answered with 503"),
        key("targets", "breaker of targets, or `off`", "off", "the same for each of several targets: one whose breaker is open is left out, and comes back by `slow_start`"),
    ],
    kong: &[],
};

#[rustfmt::skip]
pub const TARGET_BREAKER: Section = Section {
    name: "a breaker of targets",
    at: "services[].circuit_breaker.targets",
    doc: "What is not written is as for the service.",
    keys: &[
        key("failure_rate", "percent", "as for the service", ""),
        key("window", "duration", "as for the service", ""),
        key("min_requests", "number", "as for the service", ""),
        key("open_for", "duration", "as for the service", ""),
        key("slow_call", "duration", "as for the service", ""),
        key("slow_rate", "percent", "as for the service", ""),
        key("half_open_requests", "number", "as for the service", ""),
    ],
    kong: &[],
};

#[rustfmt::skip]
pub const KONG_HEALTH: Section = Section {
    name: "health checks of Kong",
    at: "upstreams[].healthchecks",
    doc: "As in Kong; durations are seconds.",
    keys: &[
        key("active", "active checks of Kong", "", ""),
        key("passive", "passive checks of Kong", "", ""),
    ],
    kong: &[without("threshold", "a service answers as long as one of its targets is up")],
};

#[rustfmt::skip]
pub const KONG_ACTIVE: Section = Section {
    name: "active checks of Kong",
    at: "upstreams[].healthchecks.active",
    doc: "Off while both intervals are 0, as in Kong.",
    keys: &[
        key("type", "string", "http", "`http`, `https` or `tcp`"),
        key("http_path", "path", "/", ""),
        key("timeout", "seconds", "1", ""),
        key("healthy", "healthy of Kong", "", ""),
        key("unhealthy", "unhealthy of Kong", "", ""),
    ],
    kong: &[
        harmless("concurrency"), harmless("https_sni"), harmless("https_verify_certificate"),
        without("headers", "checks send no headers of their own"),
    ],
};

#[rustfmt::skip]
pub const KONG_PASSIVE: Section = Section {
    name: "passive checks of Kong",
    at: "upstreams[].healthchecks.passive",
    doc: "With all thresholds 0 the gateway's own default acts.",
    keys: &[
        key("healthy", "healthy of Kong", "", ""),
        key("unhealthy", "unhealthy of Kong", "", ""),
    ],
    kong: &[harmless("type")],
};

#[rustfmt::skip]
pub const KONG_HEALTHY: Section = Section {
    name: "healthy of Kong",
    at: "upstreams[].healthchecks.*.healthy",
    doc: "",
    keys: &[
        key("interval", "seconds", "0", "between two checks"),
        key("successes", "number", "0", "in a row until it is up; 0: never"),
        key("http_statuses", "list of statuses", "[200, 302]", ""),
    ],
    kong: &[],
};

#[rustfmt::skip]
pub const KONG_UNHEALTHY: Section = Section {
    name: "unhealthy of Kong",
    at: "upstreams[].healthchecks.*.unhealthy",
    doc: "",
    keys: &[
        key("interval", "seconds", "0", "between two checks"),
        key("http_failures", "number", "0", "in a row until it is down; 0: never"),
        key("tcp_failures", "number", "0", "the same for connections"),
        key("timeouts", "number", "0", "the same for time"),
        key("http_statuses", "list of statuses", "[429, 404, 500-505]", ""),
    ],
    kong: &[],
};
