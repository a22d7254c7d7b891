//! What the process knows of services and targets, by name: kept while any generation uses it.
//!
//! Entries are weak: the workers' generations hold them. A generation that is being prepared finds those of the running one, so
//! a reload changes no health and no breaker; what the last generation to use it drops is gone at the next look.

use super::{Breaker, Clock, TargetState};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak, atomic::AtomicU32},
};

pub struct Registry {
    clock: Clock,
    services: Mutex<HashMap<String, Weak<ServiceState>>>,
}

/// A service, as long as the process knows it.
pub struct ServiceState {
    pub clock: Clock,
    pub breaker: Breaker,
    /// Tries in flight that repeat others.
    pub retrying: AtomicU32,
    targets: Mutex<HashMap<String, Weak<TargetState>>>,
}

impl Registry {
    pub fn new() -> Registry {
        Registry { clock: Clock::start(), services: Mutex::default() }
    }

    /// The state of a service; made when there is none.
    pub fn service(&self, name: &str) -> Arc<ServiceState> {
        let mut services = lock(&self.services);
        if let Some(known) = services.get(name).and_then(Weak::upgrade) {
            return known;
        }
        services.retain(|_, state| state.strong_count() > 0);
        let made = Arc::new(ServiceState {
            clock: self.clock,
            breaker: Breaker::default(),
            retrying: AtomicU32::new(0),
            targets: Mutex::default(),
        });
        services.insert(name.to_owned(), Arc::downgrade(&made));
        made
    }

    /// The state of a service that is in use.
    pub fn known(&self, name: &str) -> Option<Arc<ServiceState>> {
        lock(&self.services).get(name).and_then(Weak::upgrade)
    }
}

impl Default for Registry {
    fn default() -> Registry {
        Registry::new()
    }
}

impl ServiceState {
    /// The state of a target, by its `host:port`; made when there is none. One that joins others begins slowly; all of a service
    /// that is new begin together.
    pub fn target(&self, address: &str) -> Arc<TargetState> {
        let joins = lock(&self.targets).values().any(|state| state.strong_count() > 0);
        self.target_that(joins, address)
    }

    /// The same of one address of a name; `joins`: there were others before, and it begins slowly.
    pub fn target_that(&self, joins: bool, address: &str) -> Arc<TargetState> {
        let mut targets = lock(&self.targets);
        if let Some(known) = targets.get(address).and_then(Weak::upgrade) {
            return known;
        }
        targets.retain(|_, state| state.strong_count() > 0);
        let since = if joins { self.clock.now() } else { 0 };
        let made = Arc::new(TargetState::new(since));
        targets.insert(address.to_owned(), Arc::downgrade(&made));
        made
    }

    /// The state of a target that is in use.
    pub fn known(&self, address: &str) -> Option<Arc<TargetState>> {
        lock(&self.targets).get(address).and_then(Weak::upgrade)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::Ordering;

    #[test]
    fn state_lives_as_long_as_a_generation_uses_it() {
        let registry = Registry::new();
        let old = (registry.service("users"), registry.service("users").target("h:1"));
        old.0.retrying.store(7, Ordering::Relaxed);
        let new = registry.service("users");
        assert_eq!(new.retrying.load(Ordering::Relaxed), 7);
        assert!(Arc::ptr_eq(&old.1, &new.target("h:1")));
        drop((old, new));
        assert!(registry.known("users").is_none());
        assert_eq!(registry.service("users").retrying.load(Ordering::Relaxed), 0);
    }
}
