//! How many connections may be open: in the process, and from one client.
//!
//! One count for all workers. The total is an atomic; a client's own count, only kept when it has a limit, stands behind one of a few
//! locks, which are taken when a connection begins and when it ends and at no other time.

use std::{
    collections::HashMap,
    hash::{BuildHasher, RandomState},
    net::{IpAddr, Ipv6Addr},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

const SHARDS: usize = 16;

#[derive(Default)]
pub struct Admission {
    total: AtomicUsize,
    /// Keyed at random, so that nobody can choose addresses that share a lock.
    hasher: RandomState,
    clients: [Mutex<HashMap<IpAddr, usize>>; SHARDS],
}

/// A place in the count; it is given back with the value.
pub struct Admitted {
    admission: Arc<Admission>,
    client: Option<IpAddr>,
}

impl Admission {
    /// One more connection, unless there are `max` already.
    pub fn enter(self: &Arc<Admission>, max: usize) -> Option<Admitted> {
        // What is over the limit for a moment only makes others of that moment be refused too.
        if self.total.fetch_add(1, Ordering::Relaxed) >= max {
            self.total.fetch_sub(1, Ordering::Relaxed);
            return None;
        }
        Some(Admitted { admission: self.clone(), client: None })
    }

    fn shard(&self, client: IpAddr) -> &Mutex<HashMap<IpAddr, usize>> {
        &self.clients[self.hasher.hash_one(client) as usize % SHARDS]
    }
}

impl Admitted {
    /// Counts it for its client too, once; false when that one has `max` already.
    pub fn is_within(&mut self, client: IpAddr, max: usize) -> bool {
        let client = network(client);
        let mut counts = self.admission.shard(client).lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(client).or_insert(0);
        if *count >= max {
            return false;
        }
        *count += 1;
        self.client = Some(client);
        true
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        self.admission.total.fetch_sub(1, Ordering::Relaxed);
        let Some(client) = self.client else { return };
        let mut counts = self.admission.shard(client).lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&client) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&client);
            }
        }
    }
}

/// Of IPv6 a client has at least a /64 to choose addresses from (RFC 6177), so that is what is counted.
fn network(client: IpAddr) -> IpAddr {
    match client.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX))),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_given_back() {
        let admission = Arc::new(Admission::default());
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        let mut one = admission.enter(2).unwrap();
        let mut two = admission.enter(2).unwrap();
        assert!(admission.enter(2).is_none());
        assert!(one.is_within(ip("2001:db8::1"), 1));
        assert!(!two.is_within(ip("2001:db8::2"), 1), "the same /64");
        assert!(two.is_within(ip("2001:db8:0:1::1"), 1));
        drop(one);
        let mut three = admission.enter(2).unwrap();
        assert!(three.is_within(ip("2001:db8::3"), 1));
        drop((two, three));
        assert_eq!(admission.total.load(Ordering::Relaxed), 0);
        assert!(admission.clients.iter().all(|shard| shard.lock().unwrap().is_empty()));
    }
}
