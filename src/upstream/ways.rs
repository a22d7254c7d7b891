//! The addresses of an origin as one worker uses them: whose turn it is, and which could not be reached lately.
//!
//! A copy of what [`super::names`] knows, made anew when that has changed, so that a request looks at one atomic and takes no lock. An
//! address that failed is passed over for a while, as by nginx's `fail_timeout`, unless all have.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::time::Instant;

use super::Origin;

/// nginx's `fail_timeout`.
const PASSED_OVER: Duration = Duration::from_secs(10);

#[derive(Debug, Default)]
pub(super) struct Ways {
    edition: u64,
    all: Vec<Way>,
    next: usize,
}

#[derive(Clone, Copy, Debug)]
struct Way {
    address: SocketAddr,
    failed: Option<Instant>,
}

impl Ways {
    /// Takes over what has changed.
    pub fn follow(&mut self, origin: &Origin) {
        let Some(name) = origin.name() else {
            if self.all.is_empty() {
                self.all.extend(origin.address().map(|address| Way { address, failed: None }));
            }
            return;
        };
        if name.edition() == self.edition {
            return;
        }
        let (edition, addresses) = name.addresses();
        let before = std::mem::take(&mut self.all);
        let way = |ip: &std::net::IpAddr| {
            let address = SocketAddr::new(*ip, origin.port());
            let failed = before.iter().find(|way| way.address == address).and_then(|way| way.failed);
            Way { address, failed }
        };
        self.all = addresses.iter().map(way).collect();
        self.edition = edition;
    }

    /// Whether the address is still one of the origin's.
    pub fn lead_to(&self, address: SocketAddr) -> bool {
        self.all.iter().any(|way| way.address == address)
    }

    /// Whose turn it is.
    pub fn turn(&self, now: Instant) -> Option<SocketAddr> {
        self.order().find(|way| way.is_good(now)).or_else(|| self.order().next()).map(|way| way.address)
    }

    /// That address was taken: it is the next one's turn.
    pub fn took(&mut self, address: SocketAddr) {
        if let Some(at) = self.all.iter().position(|way| way.address == address) {
            self.next = (at + 1) % self.all.len();
        }
    }

    /// All of them in turn, those that failed lately last.
    pub fn in_turn(&self, now: Instant) -> Vec<SocketAddr> {
        let good = self.order().filter(|way| way.is_good(now));
        let bad = self.order().filter(|way| !way.is_good(now));
        good.chain(bad).map(|way| way.address).collect()
    }

    /// Whether it knows of an address that failed lately.
    pub fn remembers(&self, now: Instant) -> bool {
        self.all.iter().any(|way| !way.is_good(now))
    }

    pub fn failed(&mut self, address: SocketAddr, now: Instant) {
        self.mark(address, Some(now));
    }

    pub fn succeeded(&mut self, address: SocketAddr) {
        self.mark(address, None);
    }

    fn mark(&mut self, address: SocketAddr, failed: Option<Instant>) {
        if let Some(way) = self.all.iter_mut().find(|way| way.address == address) {
            way.failed = failed;
        }
    }

    fn order(&self) -> impl Iterator<Item = &Way> {
        let (after, before) = self.all.split_at(self.next.min(self.all.len()));
        before.iter().chain(after)
    }
}

impl Way {
    fn is_good(&self, now: Instant) -> bool {
        self.failed.is_none_or(|failed| now.saturating_duration_since(failed) >= PASSED_OVER)
    }
}
