//! How the names of targets become addresses: which servers are asked, and how often.
//!
//! Only the numbers; `upstream::names` asks. Names that scripts call are left to the system.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::diagnostic::Diagnostics;
use super::keys;
use super::listener::each;
use super::node::Node;
use super::source::Spanned;
use super::table::{Table, mismatch};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dns {
    /// From one look to the next. Default 5 s, as Envoy's `dns_refresh_rate`; whatever a record's own time to live is, which Envoy
    /// ignores by default as well.
    pub refresh: Duration,
    /// Asked in this order; empty: the system is asked, with its files and search domains.
    pub servers: Vec<SocketAddr>,
}

impl Default for Dns {
    fn default() -> Dns {
        Dns { refresh: Duration::from_secs(5), servers: Vec::new() }
    }
}

/// Below this, servers would be flooded by a typing mistake.
const SHORTEST: Duration = Duration::from_millis(10);
const PORT: u16 = 53;

pub(super) fn dns(node: Option<&Node>, diagnostics: &mut Diagnostics) -> Dns {
    let mut dns = Dns::default();
    let Some(table) = node.and_then(|node| Table::open(node, &keys::DNS, diagnostics)) else {
        return dns;
    };
    match (table.duration("refresh", diagnostics), table.get("refresh")) {
        (Some(refresh), Some(node)) if refresh < SHORTEST => mismatch(node, "a duration of at least 10ms", diagnostics),
        (Some(refresh), _) => dns.refresh = refresh,
        (None, _) => {}
    }
    let server = |text: &Spanned<String>| {
        let whole = text.parse::<SocketAddr>();
        let bare = || text.trim_matches(['[', ']']).parse::<IpAddr>().map(|ip| SocketAddr::new(ip, PORT));
        whole.or_else(|_| bare()).map_err(|_| "is not the address of a DNS server, such as `10.0.0.2`".to_owned())
    };
    dns.servers = each(table.get("servers"), diagnostics, server).unwrap_or_default();
    dns
}
