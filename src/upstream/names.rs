//! The names of targets and their addresses, which one task of the process keeps fresh for all workers.
//!
//! As Envoy's `STRICT_DNS` (a look every 5 s, all addresses are used) and nginx's `resolve`: a request never waits for a look but the
//! very first. A look that fails keeps the last good addresses. Which address a connection goes to is for [`super::ways`].

mod resolver;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use resolver::Resolver;

/// How long a look may take. getaddrinfo(3) of glibc gives up after two tries of 5 s each.
const PATIENCE: Duration = Duration::from_secs(11);
/// A name that has no address yet is looked at so often at least.
const UNKNOWN: Duration = Duration::from_secs(1);

/// All names in use by targets. Entries are weak: the generations' origins hold them.
#[derive(Debug, Default)]
pub struct Names {
    known: Mutex<HashMap<Box<str>, Weak<Name>>>,
    resolver: Arc<Mutex<Resolver>>,
    /// Told of each name that is new.
    added: Notify,
}

/// One name.
pub struct Name {
    host: Box<str>,
    resolver: Arc<Mutex<Resolver>>,
    /// Changes with the addresses; 0 while there are none.
    edition: AtomicU64,
    state: Mutex<State>,
    /// Held while somebody looks.
    looking: tokio::sync::Mutex<()>,
    /// Told of each edition.
    followed: Notify,
}

#[derive(Debug, Default)]
struct State {
    addresses: Arc<[IpAddr]>,
    /// Why the last look failed; absent when it didn't.
    failing: Option<Arc<str>>,
    failures: u64,
    due: Option<Instant>,
}

/// What is known of a name, for whoever lists it.
#[derive(Clone, Debug)]
pub struct Resolved {
    pub addresses: Arc<[IpAddr]>,
    pub failures: u64,
    pub failing: Option<Arc<str>>,
}

impl Names {
    /// The name, made when it is new.
    pub fn name(&self, host: &str) -> Arc<Name> {
        let mut known = lock(&self.known);
        if let Some(name) = known.get(host).and_then(Weak::upgrade) {
            return name;
        }
        known.retain(|_, name| name.strong_count() > 0);
        let name = Arc::new(Name::new(host, self.resolver.clone()));
        known.insert(host.into(), Arc::downgrade(&name));
        self.added.notify_one();
        name
    }

    /// What is known of a name that is in use.
    pub fn resolved(&self, host: &str) -> Option<Resolved> {
        lock(&self.known).get(host).and_then(Weak::upgrade).map(|name| name.resolved())
    }

    /// The addresses of a host for who connects by other means: itself, when it is an address.
    ///
    /// # Errors
    /// None is known.
    pub async fn lookup(&self, host: &str) -> io::Result<Arc<[IpAddr]>> {
        if let Ok(ip) = host.trim_matches(['[', ']']).parse() {
            return Ok([ip].into());
        }
        let name = self.name(&host.to_ascii_lowercase());
        name.ready().await?;
        Ok(name.addresses().1)
    }

    /// Asks these servers from now on, or the system where there are none: every name, as soon as it is kept fresh.
    pub fn ask(&self, servers: &[SocketAddr]) {
        *lock(&self.resolver) = Resolver::of(servers);
        for name in lock(&self.known).values().filter_map(Weak::upgrade) {
            lock(&name.state).due = None;
        }
    }

    /// Looks at every name, each time after that pause. Runs until it is dropped.
    pub async fn keep_fresh(self: Arc<Names>, refresh: Duration) {
        loop {
            let now = Instant::now();
            let all: Vec<Arc<Name>> = lock(&self.known).values().filter_map(Weak::upgrade).collect();
            let mut next = now + refresh;
            for name in all {
                let due = name.due();
                if due.is_some_and(|due| due > now) {
                    next = next.min(due.unwrap_or(next));
                    continue;
                }
                // Before it has ended it is not due again, and a slow one keeps no other waiting.
                name.next_after(PATIENCE);
                tokio::spawn(async move {
                    name.look(true).await;
                    name.next_after(if name.edition() == 0 { refresh.min(UNKNOWN) } else { refresh });
                });
                next = next.min(now + refresh.min(UNKNOWN));
            }
            tokio::select! {
                () = tokio::time::sleep_until(next) => {}
                () = self.added.notified() => {}
            }
        }
    }
}

impl Name {
    fn new(host: &str, resolver: Arc<Mutex<Resolver>>) -> Name {
        Name {
            host: host.into(),
            resolver,
            edition: AtomicU64::new(0),
            state: Mutex::default(),
            looking: tokio::sync::Mutex::default(),
            followed: Notify::default(),
        }
    }

    /// One that nobody keeps fresh.
    pub(super) fn alone(host: &str) -> Name {
        Name::new(host, Arc::default())
    }

    pub fn edition(&self) -> u64 {
        self.edition.load(Ordering::Acquire)
    }

    /// The addresses, and the edition that they are.
    pub fn addresses(&self) -> (u64, Arc<[IpAddr]>) {
        let state = lock(&self.state);
        (self.edition(), state.addresses.clone())
    }

    /// Waits until there is another edition than this one.
    pub async fn changed(&self, edition: u64) {
        loop {
            // Made before the look, so that nothing that comes after it is missed.
            let told = self.followed.notified();
            if self.edition() != edition {
                return;
            }
            told.await;
        }
    }

    /// Waits for the first look, if there was none yet.
    ///
    /// # Errors
    /// It found nothing; that is told at once until a look in the background finds something.
    pub async fn ready(&self) -> Result<(), io::Error> {
        if self.edition() == 0 && lock(&self.state).failing.is_none() {
            self.look(false).await;
        }
        match &lock(&self.state).failing {
            Some(why) if self.edition() == 0 => Err(io::Error::other(why.to_string())),
            _ => Ok(()),
        }
    }

    /// Asks for the addresses; unless `again`, only when nobody has meanwhile.
    async fn look(&self, again: bool) {
        let _looking = self.looking.lock().await;
        if !again && (self.edition() > 0 || lock(&self.state).failing.is_some()) {
            return;
        }
        let resolver = lock(&self.resolver).clone();
        let found = tokio::time::timeout(PATIENCE, resolver.resolve(&self.host)).await;
        self.found(found.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())));
    }

    fn found(&self, found: io::Result<Vec<IpAddr>>) {
        let name = &*self.host;
        let mut state = lock(&self.state);
        match found {
            Ok(mut addresses) if !addresses.is_empty() => {
                addresses.sort_unstable();
                addresses.dedup();
                if state.failing.take().is_some() {
                    tracing::info!(name, "the name of a target is resolved again");
                }
                if *state.addresses != *addresses {
                    tracing::debug!(name, ?addresses, "the addresses of a target have changed");
                    state.addresses = addresses.into();
                    self.edition.fetch_add(1, Ordering::Release);
                    self.followed.notify_waiters();
                }
            }
            nothing => {
                let reason = match nothing {
                    Ok(_) => "it has no address".to_owned(),
                    Err(error) => error.to_string(),
                };
                state.failures += 1;
                if state.failing.is_none() {
                    let kept = state.addresses.len();
                    tracing::warn!(name, reason, kept, "the name of a target can't be resolved");
                }
                state.failing = Some(reason.into());
            }
        }
    }

    fn resolved(&self) -> Resolved {
        let state = lock(&self.state);
        Resolved { addresses: state.addresses.clone(), failures: state.failures, failing: state.failing.clone() }
    }

    fn due(&self) -> Option<Instant> {
        lock(&self.state).due
    }

    fn next_after(&self, pause: Duration) {
        lock(&self.state).due = Some(Instant::now() + pause);
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Name").field(&self.host).finish()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
