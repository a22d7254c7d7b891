//! The idle connections of one worker, and the making of new ones.
//!
//! The last one used is taken first, so that a burst's surplus ages and goes. A connection is here only after request and
//! response were wholly done; it is looked at again before use, since a target may close it at any time. Not shared
//! between workers, and not tied to a generation: a reload keeps connections warm.
//!
//! How many rest is bounded by age, as Envoy's are, and by the descriptors there are, as HAProxy's: they were all in use at once, and
//! with a bound below that a number of clients above it has every request open a connection and close another one.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderMap;
use tokio::time::{Instant, timeout_at};

use super::connection::{Connection, Io};
use super::dial::{dial, fair, is_shortage};
use super::error::{Kind, Phase, UpstreamError};
use super::http2::Multiplexer;
use super::ways::Ways;
use super::{Origin, Timeouts};

/// How long a connection rests at most. Kong's default; many servers close after 60 to 75 seconds, Node after 5.
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);
/// The same where clients can't be accepted for want of descriptors: what is in use rests for less, and is not given away.
const SHORT_REST: Duration = Duration::from_secs(1);

/// How many maps are kept, and up to which capacity: at most half a megabyte for a worker.
const SPARE_MAPS: usize = 64;
const LARGEST_SPARE_MAP: usize = 64;

/// As many resting connections to an origin keep their buffers.
const BUFFERED: usize = 256;

/// The connections of one worker to all targets. Clones share it.
#[derive(Clone, Debug)]
pub struct Pool {
    shared: Rc<Shared>,
}

#[derive(Debug)]
struct Shared {
    idle_timeout: Duration,
    multiplexer: Multiplexer,
    idle: RefCell<HashMap<Arc<Origin>, Resting, ahash::RandomState>>,
    spare_maps: RefCell<Vec<HeaderMap>>,
    /// When a connection was last taken or looked for: near enough to tell how long one has rested, and a look at the clock
    /// less for each request.
    clock: Cell<Instant>,
}

/// The idle connections to one origin, and where new ones go.
#[derive(Debug, Default)]
struct Resting {
    idle: Vec<Idle>,
    ways: Ways,
}

#[derive(Debug)]
struct Idle {
    /// Boxed once, and then handed from one exchange to the next.
    connection: Box<Connection>,
    since: Instant,
}

impl Idle {
    fn rested(&self, time: Duration, now: Instant) -> bool {
        now.saturating_duration_since(self.since) >= time
    }
}

impl Default for Pool {
    fn default() -> Pool {
        Pool::new(IDLE_TIMEOUT)
    }
}

impl Pool {
    /// Connections rest for at most `idle_timeout`.
    pub fn new(idle_timeout: Duration) -> Pool {
        let shared = Shared {
            idle_timeout,
            multiplexer: Multiplexer::default(),
            idle: RefCell::default(),
            spare_maps: RefCell::default(),
            clock: Cell::new(Instant::now()),
        };
        Pool { shared: Rc::new(shared) }
    }

    /// The number of idle connections, to all targets together.
    pub fn idle(&self) -> usize {
        self.shared.idle.borrow().values().map(|resting| resting.idle.len()).sum()
    }

    #[cfg(test)]
    pub(super) fn idle_and_quiet(&self) -> usize {
        let mut idle = self.shared.idle.borrow_mut();
        let resting = idle.values_mut().flat_map(|resting| &mut resting.idle);
        resting.filter_map(|idle| idle.connection.is_quiet().then_some(())).count()
    }

    /// Closes connections that have rested for too long, were closed by the target or lead to an address that its name no longer has,
    /// and forgets origins without any, and without an address that failed lately. Where clients wait for descriptors
    /// [`SHORT_REST`] is too long.
    ///
    /// A worker calls this every second. An origin that is no longer used is otherwise never looked at; and with a timer
    /// so near always armed, tokio need not wake its own driver (a write to an eventfd, in most requests) when an
    /// exchange arms one that is further away.
    pub fn sweep(&self, clients_wait: bool) {
        let now = Instant::now();
        let most = if clients_wait { self.shared.idle_timeout.min(SHORT_REST) } else { self.shared.idle_timeout };
        self.shared.clock.set(now);
        self.shared.multiplexer.sweep(most, now);
        self.shared.idle.borrow_mut().retain(|origin, Resting { idle, ways }| {
            ways.follow(origin);
            idle.retain_mut(|idle| {
                !idle.rested(most, now) && ways.lead_to(idle.connection.peer) && idle.connection.is_quiet()
            });
            !idle.is_empty() || ways.remembers(now)
        });
    }

    /// Closes the older half of each origin's idle connections, for a new one that finds no descriptor. Whether there was any.
    pub(super) fn shed(&self) -> bool {
        let mut shed = 0;
        for Resting { idle, .. } in self.shared.idle.borrow_mut().values_mut() {
            shed += idle.drain(..idle.len().div_ceil(2)).len();
        }
        shed > 0
    }

    /// The idle connection to `origin` that was used last and is still good; of those of a name, to the address whose turn it is.
    pub(super) fn take(&self, origin: &Arc<Origin>, now: Instant) -> Option<Box<Connection>> {
        self.shared.clock.set(now);
        let mut all = self.shared.idle.borrow_mut();
        let Resting { idle, ways } = all.get_mut(origin)?;
        if origin.name().is_some() {
            ways.follow(origin);
            let wanted = ways.turn(now)?;
            while let Some(at) = idle.iter().rposition(|idle| idle.connection.peer == wanted) {
                let mut last = idle.remove(at);
                if !last.rested(self.shared.idle_timeout, now) && last.connection.is_quiet() {
                    ways.took(wanted);
                    return Some(last.connection);
                }
            }
            return None;
        }
        if idle.is_empty() {
            return None;
        }
        while let Some(mut last) = idle.pop() {
            if last.rested(self.shared.idle_timeout, now) {
                // All below it are older still.
                idle.clear();
                return None;
            }
            if last.connection.is_quiet() {
                return Some(last.connection);
            }
        }
        None
    }

    /// Whether a connection to that address still leads to `origin`.
    pub(super) fn leads_to(&self, origin: &Arc<Origin>, address: SocketAddr) -> bool {
        if origin.name().is_none() {
            return true;
        }
        self.ways(origin, |ways| ways.lead_to(address))
    }

    /// Keeps a connection whose exchange was wholly done.
    pub(super) fn put(&self, origin: &Arc<Origin>, mut connection: Box<Connection>) {
        debug_assert!(connection.input.is_empty());
        connection.reused = true;
        connection.shrink();
        let mut all = self.shared.idle.borrow_mut();
        let Some(resting) = all.get_mut(origin) else {
            let idle = Idle { connection, since: self.shared.clock.get() };
            all.insert(origin.clone(), Resting { idle: vec![idle], ways: Ways::default() });
            return;
        };
        if resting.idle.len() >= BUFFERED {
            // Many rest for long; a buffer is made in less time than a connection.
            connection.give_up_buffers();
        }
        resting.idle.push(Idle { connection, since: self.shared.clock.get() });
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

    /// A new connection, to the address whose turn it is or else to another of the same name.
    pub(super) async fn connect(
        &self,
        origin: &Arc<Origin>,
        timeouts: &Timeouts,
    ) -> Result<Box<Connection>, UpstreamError> {
        let (io, peer) = self.open(origin, timeouts).await?;
        Ok(Box::new(Connection::new(io, peer)))
    }

    /// The socket of a new connection, its TLS handshake done.
    pub(super) async fn open(
        &self,
        origin: &Arc<Origin>,
        timeouts: &Timeouts,
    ) -> Result<(Io, SocketAddr), UpstreamError> {
        let failed =
            |phase, kind| UpstreamError { origin: origin.clone(), phase, kind, sent: false, body_consumed: false };
        let started = Instant::now();
        // Without any limit there would be none by the kernel's retransmissions either: about two minutes.
        let limit = timeouts.limit(started, timeouts.connect).unwrap_or(started + Duration::from_secs(120));
        if let Some(name) = origin.name() {
            let ready = timeout_at(limit, name.ready()).await.map_err(|_| failed(Phase::Resolve, Kind::Timeout))?;
            ready.map_err(|error| failed(Phase::Resolve, Kind::Unresolved(error)))?;
        }
        let mut addresses = self.ways(origin, |ways| {
            let addresses = ways.in_turn(started);
            addresses.first().into_iter().for_each(|first| ways.took(*first));
            addresses
        });
        loop {
            let unreached = |address| self.ways(origin, |ways| ways.failed(address, started));
            let (stream, address) = match dial(&addresses, limit, fair(timeouts.connect), unreached).await {
                Ok(dialed) => dialed,
                // What rests gives way to what is needed.
                Err(Kind::Refused(error)) if is_shortage(&error) && self.shed() => continue,
                Err(kind) => return Err(failed(Phase::Connect, kind)),
            };
            // Heads and bodies are put together here; Nagle's algorithm would only delay their end. Failing to
            // say so makes a connection slow, not wrong.
            let _ = stream.set_nodelay(true);
            let begun = Instant::now();
            let kind = match origin.tls() {
                None => {
                    self.ways(origin, |ways| ways.succeeded(address));
                    return Ok((Io::Tcp(stream), address));
                }
                Some((tls, name)) => match timeout_at(limit, tls.connect(name, stream)).await {
                    Ok(Ok(stream)) => {
                        self.ways(origin, |ways| ways.succeeded(address));
                        return Ok((Io::Tls(Box::new(stream)), address));
                    }
                    Ok(Err(error)) => Kind::Tls(error),
                    Err(_) => {
                        if begun.elapsed() >= fair(timeouts.connect) {
                            unreached(address);
                        }
                        // There is no time left for another one.
                        return Err(failed(Phase::Connect, Kind::Timeout));
                    }
                },
            };
            unreached(address);
            addresses.retain(|other| *other != address);
            if addresses.is_empty() {
                return Err(failed(Phase::Connect, kind));
            }
        }
    }

    fn ways<T>(&self, origin: &Arc<Origin>, with: impl FnOnce(&mut Ways) -> T) -> T {
        let mut all = self.shared.idle.borrow_mut();
        let ways = &mut all.entry(origin.clone()).or_default().ways;
        ways.follow(origin);
        with(ways)
    }
}
