//! Tokens that were verified, so that a client that sends the same one again costs a lookup and no cryptography.
//!
//! Keyed by the whole token, signature included. Bounded by two generations: when the young one is full it becomes the
//! old one and what was old is dropped; a hit in the old one moves the entry to the young. That is nearly the order of
//! use, without a list to keep on every hit. Times are not judged here.

use std::rc::Rc;

use ahash::AHashMap;

use super::verify::Verified;

/// Bytes of tokens and claims in each of the two generations. Two times this, times the verifiers of a worker, is the most
/// that is held: a few thousand tokens of ordinary size.
const GENERATION: usize = 2 << 20;

#[derive(Default)]
pub(super) struct Cache {
    young: AHashMap<Box<str>, Rc<Verified>>,
    old: AHashMap<Box<str>, Rc<Verified>>,
    /// Bytes in the young generation.
    bytes: usize,
}

impl Cache {
    pub fn get(&mut self, token: &str) -> Option<Rc<Verified>> {
        if let Some(verified) = self.young.get(token) {
            return Some(verified.clone());
        }
        let (token, verified) = self.old.remove_entry(token)?;
        self.insert(token, verified.clone());
        Some(verified)
    }

    pub fn insert(&mut self, token: Box<str>, verified: Rc<Verified>) {
        // The values take about as much again as their text.
        let weight = token.len() + 2 * verified.claims.text.len() + 128;
        if self.bytes + weight > GENERATION {
            self.old = std::mem::take(&mut self.young);
            self.bytes = 0;
        }
        self.bytes += weight;
        self.young.insert(token, verified);
    }

    /// Forgets an entry that [`Cache::get`] has just found, which is therefore young.
    pub fn remove(&mut self, token: &str) {
        self.young.remove(token);
    }

    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.young.len() + self.old.len()
    }
}
