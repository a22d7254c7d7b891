//! What a worker keeps so that host functions need not make it again: compiled patterns, token verifiers.
//!
//! Bounded by weight, and the least recently used goes first, so that a script that makes up patterns can't fill the memory. Nothing that scripts
//! can observe depends on it: values that must be found again belong in `kv`.

use super::Raise;
use crate::{
    crypto::jwt::Signer,
    script::host::{
        jwt::{
            published::{self, Sets},
            rules::Rules,
        },
        regex::Pattern,
    },
    store::RedisScript,
};
use ahash::AHashMap;
use std::{
    cell::{Cell, RefCell},
    rc::Rc,
};

/// A bounded map of things that are cheap to clone and dear to make.
pub struct Cache<V> {
    /// The most that all entries together may weigh.
    max: usize,
    weigh: fn(&V) -> usize,
    /// Grows by one with each look-up; an entry's age is the turn it was last used in.
    turn: Cell<u64>,
    entries: RefCell<AHashMap<String, Entry<V>>>,
}

struct Entry<V> {
    value: V,
    weight: usize,
    used: u64,
}

impl<V: Clone> Cache<V> {
    pub fn new(max: usize, weigh: fn(&V) -> usize) -> Cache<V> {
        Cache { max, weigh, turn: Cell::new(0), entries: RefCell::default() }
    }

    /// The entry of this key, made now if there is none. What can't be made is not kept.
    pub fn get_or_make(&self, key: &str, make: impl FnOnce() -> Result<V, Raise>) -> Result<V, Raise> {
        let used = self.turn.get() + 1;
        self.turn.set(used);
        if let Some(entry) = self.entries.borrow_mut().get_mut(key) {
            entry.used = used;
            return Ok(entry.value.clone());
        }
        let value = make()?;
        let weight = (self.weigh)(&value);
        let mut entries = self.entries.borrow_mut();
        // Scans cost little beside making what missed.
        while !entries.is_empty() && entries.values().map(|entry| entry.weight).sum::<usize>() + weight > self.max {
            let oldest = entries.iter().min_by_key(|(_, entry)| entry.used).map(|(key, _)| key.clone());
            oldest.map(|key| entries.remove(&key));
        }
        entries.insert(key.to_owned(), Entry { value: value.clone(), weight, used });
        Ok(value)
    }
}

/// The caches of one worker.
pub struct Caches {
    /// Together at most 32 MiB.
    pub patterns: Cache<Rc<Pattern>>,
    /// By the options that `jwt.verify` was given. Few, since each remembers megabytes of tokens.
    pub verifiers: Cache<Rc<Rules>>,
    pub signers: Cache<Rc<Signer>>,
    pub redis_scripts: Cache<RedisScript>,
    /// Keys that issuers publish; kept from generation to generation.
    pub key_sets: Sets,
}

impl Caches {
    /// Empty ones.
    pub fn for_worker() -> Caches {
        Caches {
            patterns: Cache::new(32 << 20, |pattern| pattern.memory()),
            verifiers: Cache::new(16, |_| 1),
            signers: Cache::new(16, |_| 1),
            redis_scripts: Cache::new(64, |_| 1),
            key_sets: published::sets(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_recently_used_goes_first() {
        let cache = Cache::new(4, |value: &usize| *value);
        let made = RefCell::new(Vec::new());
        let get = |key: &str| {
            let make = || {
                made.borrow_mut().push(key.to_owned());
                Ok(key.len())
            };
            cache.get_or_make(key, make).map_err(|raise| raise.to_string())
        };
        for key in ["a", "bb", "a", "ccc", "a", "bb", "longer than all", "a"] {
            assert_eq!(get(key), Ok(key.len()));
        }
        assert_eq!(*made.borrow(), ["a", "bb", "ccc", "bb", "longer than all", "a"]);
    }

    #[test]
    fn what_fails_is_not_kept() {
        let cache: Cache<u8> = Cache::new(2, |_| 1);
        let failed = cache.get_or_make("a", || Err(Raise::error("no"))).map_err(|raise| raise.to_string());
        assert_eq!(failed, Err("no".into()));
        assert!(matches!(cache.get_or_make("a", || Ok(1)), Ok(1)));
    }
}
