//! A route's `mirror`: the service that gets copies of its requests.
//!
//! Named and bounded after Envoy's `request_mirror_policies`, Traefik's mirroring (`percent`, `maxBodySize`) and nginx's `mirror`.

use std::time::Duration;

use super::diagnostic::{Diagnostic, Diagnostics};
use super::keys;
use super::node::Node;
use super::route::Written;
use super::service::Service;
use super::source::Spanned;
use super::table::Table;

#[derive(Clone, Debug)]
pub struct Mirror {
    /// As an index of [`Config::services`](super::Config::services).
    pub service: usize,
    /// The share of the requests, 0 to 1.
    pub share: f64,
    /// Bytes of a body that is copied.
    pub max_body: usize,
    pub max_in_flight: i64,
    /// The service's own when absent.
    pub timeout: Option<Duration>,
}

/// What a request takes that is copied while it streams, times `max_in_flight`, is what mirroring costs in memory.
const DEFAULT_MAX_BODY: u64 = 64 << 10;
const MOST_BODY: u64 = 16 << 20;
const DEFAULT_IN_FLIGHT: i64 = 100;

/// The service is named; [`place`] finds it.
pub(super) fn mirror(node: &Node, diagnostics: &mut Diagnostics) -> Option<(Mirror, Spanned<String>)> {
    let table = Table::open(node, &keys::MIRROR, diagnostics)?;
    let percent = table.integer("percent", 0..=100, diagnostics).unwrap_or(100);
    let max_body = table.size("max_body", diagnostics).unwrap_or(DEFAULT_MAX_BODY);
    if max_body > MOST_BODY
        && let Some(node) = table.get("max_body")
    {
        diagnostics.error(&node.span, "`max_body` of a mirror is at most 16 MiB: that much is kept of each request");
    }
    let mirror = Mirror {
        service: 0,
        share: percent as f64 / 100.0,
        max_body: max_body.min(MOST_BODY) as usize,
        max_in_flight: table.integer("max_in_flight", 1..=100_000, diagnostics).unwrap_or(DEFAULT_IN_FLIGHT),
        timeout: table.duration("timeout", diagnostics),
    };
    let Some(service) = table.name("service", diagnostics) else {
        table.missing("a mirror needs a `service`", diagnostics);
        return None;
    };
    Some((mirror, service))
}

pub(super) fn place(written: &mut Written, services: &[Service], diagnostics: &mut Diagnostics) {
    let mirror = written.route.traffic.as_mut().and_then(|traffic| traffic.mirror.as_mut());
    let (Some(mirror), Some(wanted)) = (mirror, &written.mirror) else { return };
    match services.iter().position(|service| service.name.value == wanted.value) {
        Some(index) => mirror.service = index,
        None => {
            let names = services.iter().map(|service| &service.name);
            diagnostics.push(Diagnostic::undefined("service", wanted, names));
        }
    }
}
