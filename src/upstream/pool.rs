//! The idle connections of one worker, and the making of new ones.
//!
//! The last one used is taken first, so that a burst's surplus ages and goes. A connection is here only after request and
//! response were wholly done; it is looked at again before use, since a target may close it at any time. Not shared
//! between workers, and not tied to a generation: a reload keeps connections warm.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderMap;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

use super::connection::{Connection, Io};
use super::error::{Kind, Phase, UpstreamError};
use super::http2::Multiplexer;
use super::{Origin, Timeouts};

/// How many connections rest, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolLimits {
    /// Kong's default is 60 seconds; many servers close after 60 to 75, Node after 5.
    pub idle_timeout: Duration,
    /// For each origin and worker.
    pub idle_connections: usize,
}

/// How many maps are kept, and up to which capacity: at most half a megabyte for a worker.
const SPARE_MAPS: usize = 64;
const LARGEST_SPARE_MAP: usize = 64;

impl Default for PoolLimits {
    fn default() -> PoolLimits {
        PoolLimits { idle_timeout: Duration::from_secs(60), idle_connections: 256 }
    }
}

/// The connections of one worker to all targets. Clones share it.
#[derive(Clone, Debug)]
pub struct Pool {
    shared: Rc<Shared>,
}

#[derive(Debug)]
struct Shared {
    limits: PoolLimits,
    multiplexer: Multiplexer,
    idle: RefCell<HashMap<Arc<Origin>, Vec<Idle>, ahash::RandomState>>,
    spare_maps: RefCell<Vec<HeaderMap>>,
    /// When a connection was last taken or looked for: near enough to tell how long one has rested, and a look at the clock
    /// less for each request.
    clock: Cell<Instant>,
}

#[derive(Debug)]
struct Idle {
    connection: Connection,
    since: Instant,
}

impl Default for Pool {
    fn default() -> Pool {
        Pool::new(PoolLimits::default())
    }
}

impl Pool {
    pub fn new(limits: PoolLimits) -> Pool {
        let shared = Shared {
            limits,
            multiplexer: Multiplexer::default(),
            idle: RefCell::default(),
            spare_maps: RefCell::default(),
            clock: Cell::new(Instant::now()),
        };
        Pool { shared: Rc::new(shared) }
    }

    /// The number of idle connections, to all targets together.
    pub fn idle(&self) -> usize {
        self.shared.idle.borrow().values().map(Vec::len).sum()
    }

    #[cfg(test)]
    pub(super) fn idle_and_quiet(&self) -> usize {
        let mut idle = self.shared.idle.borrow_mut();
        let resting = idle.values_mut().flatten();
        resting.filter_map(|idle| idle.connection.is_quiet().then_some(())).count()
    }

    /// Closes connections that are too old or were closed by the target, and forgets origins without any.
    ///
    /// A worker calls this every second. An origin that is no longer used is otherwise never looked at; and with a timer
    /// so near always armed, tokio need not wake its own driver (a write to an eventfd, in most requests) when an
    /// exchange arms one that is further away.
    pub fn sweep(&self) {
        let now = Instant::now();
        self.shared.clock.set(now);
        self.shared.multiplexer.sweep(self.shared.limits.idle_timeout, now);
        self.shared.idle.borrow_mut().retain(|_, resting| {
            resting.retain_mut(|idle| !self.has_expired(idle, now) && idle.connection.is_quiet());
            !resting.is_empty()
        });
    }

    /// The idle connection to `origin` that was used last and is still good.
    pub(super) fn take(&self, origin: &Arc<Origin>, now: Instant) -> Option<Connection> {
        self.shared.clock.set(now);
        let mut idle = self.shared.idle.borrow_mut();
        let resting = idle.get_mut(origin)?;
        if resting.is_empty() {
            return None;
        }
        while let Some(mut last) = resting.pop() {
            if self.has_expired(&last, now) {
                // All below it are older still.
                resting.clear();
                return None;
            }
            if last.connection.is_quiet() {
                return Some(last.connection);
            }
        }
        None
    }

    /// Keeps a connection whose exchange was wholly done.
    pub(super) fn put(&self, origin: &Arc<Origin>, mut connection: Connection) {
        debug_assert!(connection.input.is_empty());
        connection.reused = true;
        connection.shrink();
        let idle = Idle { connection, since: self.shared.clock.get() };
        let mut all = self.shared.idle.borrow_mut();
        let Some(resting) = all.get_mut(origin) else {
            all.insert(origin.clone(), vec![idle]);
            return;
        };
        if resting.len() >= self.shared.limits.idle_connections {
            // The newest would be used next, so the oldest goes.
            resting.drain(..1);
        }
        resting.push(idle);
    }

    /// The connections that speak HTTP/2.
    pub(super) fn multiplexer(&self) -> &Multiplexer {
        &self.shared.multiplexer
    }

    /// An empty map for the headers of a response.
    pub(super) fn spare_map(&self) -> HeaderMap {
        self.shared.spare_maps.borrow_mut().pop().unwrap_or_default()
    }

    /// Takes back the map of a request that is done: together with the server, which takes the map of a response for the next
    /// request, no map need be made for an exchange (200 to 700
    /// instructions, by its size).
    pub fn recycle(&self, mut headers: HeaderMap) {
        let mut spare = self.shared.spare_maps.borrow_mut();
        if spare.len() < SPARE_MAPS && headers.capacity() <= LARGEST_SPARE_MAP {
            headers.clear();
            spare.push(headers);
        }
    }

    fn has_expired(&self, idle: &Idle, now: Instant) -> bool {
        now.saturating_duration_since(idle.since) >= self.shared.limits.idle_timeout
    }

    /// A new connection. The addresses of a name are tried in the resolver's order (RFC 6724), each for its part of the
    /// time that is left, so that one silent address doesn't use it all.
    pub(super) async fn connect(&self, origin: &Arc<Origin>, timeouts: &Timeouts) -> Result<Connection, UpstreamError> {
        self.open(origin, timeouts).await.map(Connection::new)
    }

    /// The socket of a new connection, its TLS handshake done.
    pub(super) async fn open(&self, origin: &Arc<Origin>, timeouts: &Timeouts) -> Result<Io, UpstreamError> {
        let failed =
            |phase, kind| UpstreamError { origin: origin.clone(), phase, kind, sent: false, body_consumed: false };
        let started = Instant::now();
        // Without any limit there would be none by the kernel's retransmissions either: about two minutes.
        let limit = timeouts.limit(started, timeouts.connect).unwrap_or(started + Duration::from_secs(120));
        let resolved: Vec<SocketAddr>;
        let addresses = match origin.address() {
            Some(address) => &[address][..],
            None => {
                let name = (origin.host(), origin.port());
                let lookup = timeout_at(limit, tokio::net::lookup_host(name)).await;
                let found = lookup.map_err(|_| failed(Phase::Resolve, Kind::Timeout))?;
                resolved = found.map_err(|error| failed(Phase::Resolve, Kind::Unresolved(error)))?.collect();
                &resolved[..]
            }
        };
        let mut last = Kind::Unresolved(io::ErrorKind::NotFound.into());
        let mut phase = Phase::Resolve;
        for (tried, address) in addresses.iter().enumerate() {
            phase = Phase::Connect;
            let now = Instant::now();
            let left = limit.saturating_duration_since(now);
            let share = left / u32::try_from(addresses.len() - tried).unwrap_or(u32::MAX);
            match timeout_at(now + share, TcpStream::connect(address)).await {
                Err(_) => last = Kind::Timeout,
                Ok(Err(error)) => last = Kind::Refused(error),
                Ok(Ok(stream)) => {
                    // Heads and bodies are put together here; Nagle's algorithm would only delay their end. Failing to
                    // say so makes a connection slow, not wrong.
                    let _ = stream.set_nodelay(true);
                    let Some((tls, name)) = origin.tls() else {
                        return Ok(Io::Tcp(stream));
                    };
                    match timeout_at(limit, tls.connect(name, stream)).await {
                        Err(_) => last = Kind::Timeout,
                        Ok(Err(error)) => last = Kind::Tls(error),
                        Ok(Ok(stream)) => return Ok(Io::Tls(Box::new(stream))),
                    }
                }
            }
        }
        Err(failed(phase, last))
    }
}
