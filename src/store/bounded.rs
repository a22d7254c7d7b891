//! A map that all workers share and that cannot outgrow its bounds: what `kv` and the embedded limiter keep their entries in.
//!
//! Sharded by hash, one mutex a shard. When a shard is full a victim is chosen from a small sample, as Redis does
//! (<https://redis.io/docs/latest/develop/reference/eviction/>): an expired entry first, else the one its owner
//! ranks lowest. An exact order would cost a write to a shared list on every read. It doesn't know what it holds.

use std::hash::{Hash, Hasher};
use std::sync::{Mutex, MutexGuard, PoisonError};

use ahash::RandomState;
use indexmap::{Equivalent, IndexMap};

/// Shards are locked for tens of nanoseconds; this many keep a few dozen workers out of each other's way.
const SHARDS: usize = 64;
/// Entries looked at to find a victim. Redis' default is 5; more is closer to the true order, and still a cache line or two each.
const SAMPLE: usize = 16;
/// Entries looked at on each insertion to drop what has expired, so that expired entries go even when nothing is full.
const SWEEP: usize = 2;
/// What an entry costs beside its key and its value: the map's slot, its hash, the boxes' headers.
const OVERHEAD: usize = 96;

/// How much may be kept in all. Both bounds hold for each shard in proportion, so a skewed set of keys is evicted a little early.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Entries.
    pub entries: usize,
    /// Bytes of keys and values, with an allowance for each entry.
    pub bytes: usize,
}

/// What the map must know about a value to choose a victim.
pub(super) trait Resident {
    /// The moment from which the entry is as good as absent.
    fn expires_at(&self) -> u64;
    /// Bytes on the heap.
    fn heap(&self) -> usize;
    /// The entry with the lowest rank is evicted first.
    fn rank(&self) -> u64;
}

/// A key in two parts: what separates owners from each other (`scope`), and the owner's own key.
#[derive(Clone, Copy, Hash)]
pub(super) struct KeyRef<'a> {
    pub scope: &'a [u8],
    pub key: &'a [u8],
}

struct Key {
    scope_len: usize,
    bytes: Box<[u8]>,
}

impl Key {
    fn as_ref(&self) -> KeyRef<'_> {
        let (scope, key) = self.bytes.split_at(self.scope_len);
        KeyRef { scope, key }
    }
}

impl From<KeyRef<'_>> for Key {
    fn from(key: KeyRef<'_>) -> Self {
        Key { scope_len: key.scope.len(), bytes: [key.scope, key.key].concat().into() }
    }
}

// The map must find a `Key` by a `KeyRef`, so both hash and compare by the two parts.
impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_ref().hash(state);
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.scope_len == other.scope_len && self.bytes == other.bytes
    }
}

impl Eq for Key {}

impl Equivalent<Key> for KeyRef<'_> {
    fn equivalent(&self, key: &Key) -> bool {
        let other = key.as_ref();
        self.scope == other.scope && self.key == other.key
    }
}

pub(super) struct BoundedMap<V> {
    shards: Box<[Mutex<Shard<V>>]>,
    hasher: RandomState,
}

impl<V: Resident> BoundedMap<V> {
    pub fn new(bounds: Bounds) -> Self {
        let share = Bounds { entries: (bounds.entries / SHARDS).max(1), bytes: (bounds.bytes / SHARDS).max(1) };
        // SECURITY: seeded at random, or clients who choose their keys could put them all into one bucket.
        let hasher = RandomState::new();
        let shards = (0..SHARDS).map(|_| Mutex::new(Shard::new(share, hasher.clone()))).collect();
        BoundedMap { shards, hasher }
    }

    /// The shard that holds `key`, locked.
    pub fn shard(&self, key: KeyRef<'_>) -> MutexGuard<'_, Shard<V>> {
        let hash = self.hasher.hash_one(key);
        // The map inside uses the low and the topmost bits of the same hash.
        let shard = (hash >> 32) as usize % SHARDS;
        // Nothing in a critical section leaves a shard half-changed, so a panic elsewhere doesn't spoil it.
        self.shards[shard].lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn len(&self) -> usize {
        self.sum(|shard| shard.entries.len())
    }

    pub fn bytes(&self) -> usize {
        self.sum(|shard| shard.bytes)
    }

    fn sum(&self, of: impl Fn(&Shard<V>) -> usize) -> usize {
        self.shards.iter().map(|shard| of(&shard.lock().unwrap_or_else(PoisonError::into_inner))).sum()
    }
}

pub(super) struct Shard<V> {
    entries: IndexMap<Key, V, RandomState>,
    bytes: usize,
    bounds: Bounds,
    cursor: usize,
}

impl<V: Resident> Shard<V> {
    fn new(bounds: Bounds, hasher: RandomState) -> Self {
        Shard { entries: IndexMap::with_hasher(hasher), bytes: 0, bounds, cursor: 0 }
    }

    /// The largest key and value together that fit.
    pub fn room(&self) -> usize {
        self.bounds.bytes.saturating_sub(OVERHEAD)
    }

    pub fn get(&mut self, key: KeyRef<'_>, now: u64) -> Option<&mut V> {
        let (index, _, value) = self.entries.get_full(&key)?;
        if value.expires_at() <= now {
            self.remove_at(index);
            return None;
        }
        self.entries.get_index_mut(index).map(|(_, value)| value)
    }

    /// Puts `value` in place of whatever was there; a value that could never fit is not kept.
    pub fn insert(&mut self, key: KeyRef<'_>, value: V, now: u64) {
        self.remove(key);
        self.add(key, value, now);
    }

    /// Removes the entry and returns it, whether or not it has expired.
    pub fn remove(&mut self, key: KeyRef<'_>) -> Option<V> {
        let index = self.entries.get_index_of(&key)?;
        self.remove_at(index)
    }

    /// Runs `change` on the entry, or on a fresh one when there is none, and keeps what it left.
    pub fn update<R>(
        &mut self,
        key: KeyRef<'_>,
        now: u64,
        fresh: impl FnOnce() -> V,
        change: impl FnOnce(&mut V) -> R,
    ) -> R {
        if let Some(value) = self.get(key, now) {
            let before = value.heap();
            let result = change(value);
            let after = value.heap();
            self.bytes = self.bytes + after - before;
            if self.bytes > self.bounds.bytes {
                self.make_room(0, now, self.entries.get_index_of(&key));
            }
            return result;
        }
        let mut value = fresh();
        let result = change(&mut value);
        if value.expires_at() > now {
            self.add(key, value, now);
        }
        result
    }

    fn add(&mut self, key: KeyRef<'_>, value: V, now: u64) {
        let key = Key::from(key);
        let weight = weight(&key, &value);
        if weight > self.bounds.bytes {
            return;
        }
        self.sweep(now);
        self.make_room(weight, now, None);
        self.bytes += weight;
        self.entries.insert(key, value);
    }

    fn sweep(&mut self, now: u64) {
        for _ in 0..SWEEP.min(self.entries.len()) {
            let index = self.next_index();
            if self.entries[index].expires_at() <= now {
                self.remove_at(index);
            }
        }
    }

    /// Evicts until `weight` more fits. `keep` is the index of an entry that must stay: the one that has just grown.
    fn make_room(&mut self, weight: usize, now: u64, mut keep: Option<usize>) {
        let new = usize::from(keep.is_none());
        while self.bytes + weight > self.bounds.bytes || self.entries.len() + new > self.bounds.entries {
            let Some(victim) = self.victim(now, keep) else {
                return;
            };
            self.remove_at(victim);
            // Removing moves the last entry into the hole.
            if keep == Some(self.entries.len()) {
                keep = Some(victim);
            }
        }
    }

    fn victim(&mut self, now: u64, keep: Option<usize>) -> Option<usize> {
        let mut victim = None;
        for _ in 0..SAMPLE.min(self.entries.len()) {
            let index = self.next_index();
            if keep == Some(index) {
                continue;
            }
            let entry = &self.entries[index];
            if entry.expires_at() <= now {
                return Some(index);
            }
            let rank = entry.rank();
            if victim.is_none_or(|(_, lowest)| rank < lowest) {
                victim = Some((index, rank));
            }
        }
        victim.map(|(index, _)| index)
    }

    /// The next index of a cursor that goes round; only asked when there are entries.
    fn next_index(&mut self) -> usize {
        self.cursor = match self.cursor.checked_sub(1) {
            Some(next) if next < self.entries.len() => next,
            _ => self.entries.len() - 1,
        };
        self.cursor
    }

    fn remove_at(&mut self, index: usize) -> Option<V> {
        let (key, value) = self.entries.swap_remove_index(index)?;
        self.bytes -= weight(&key, &value);
        Some(value)
    }
}

fn weight<V: Resident>(key: &Key, value: &V) -> usize {
    key.bytes.len() + value.heap() + OVERHEAD
}
