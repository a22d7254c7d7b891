//! `drain`: how the gateway ends when it is told to.

use std::time::Duration;

use super::diagnostic::Diagnostics;
use super::keys;
use super::node::Node;
use super::table::{self, Table};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drain {
    /// From failing readiness to closing the listeners. Default none, as Traefik's `requestAcceptGraceTimeout` and Caddy's
    /// `shutdown_delay`: where nobody asks for readiness it would be waited for nothing.
    pub delay: Duration,
    /// From closing the listeners to closing connections that have not ended. Default 30 s, Kubernetes'
    /// `terminationGracePeriodSeconds`.
    pub timeout: Duration,
}

impl Default for Drain {
    fn default() -> Drain {
        Drain { delay: Duration::ZERO, timeout: Duration::from_secs(30) }
    }
}

pub(super) fn drain(node: Option<&Node>, diagnostics: &mut Diagnostics) -> Drain {
    let mut drain = Drain::default();
    let Some(table) = node.and_then(|node| Table::open(node, &keys::DRAIN, diagnostics)) else {
        return drain;
    };
    // Both may be zero.
    let mut duration = |key| table.get(key).and_then(|node| table::duration(node, diagnostics));
    drain.delay = duration("delay").unwrap_or(drain.delay);
    drain.timeout = duration("timeout").unwrap_or(drain.timeout);
    drain
}
