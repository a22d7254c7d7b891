//! `kv`: small values that scripts keep between exchanges, shared by all workers of the process.
//!
//! Bounded in entries and bytes, a namespace for each plugin, an optional time to live. It survives reloads because
//! the process owns it, not a generation. Not durable and not shared between gateways: that is what Redis is for.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::bounded::{BoundedMap, Bounds, KeyRef, Resident};
use super::clock::{Clock, micros};

/// A value as it was set; integers keep their type, so that `incr` never parses text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KvValue {
    Bytes(Bytes),
    Int(i64),
}

/// Why a value was not stored. The caller's fault each time; trying again changes nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KvError {
    #[error("kv: an entry of {size} bytes is over the limit of {max}")]
    TooLarge { size: usize, max: usize },
    #[error("kv: `{key}` holds bytes, not an integer")]
    NotAnInteger { key: String },
    #[error("kv: `{key}` is {value}; adding {by} leaves the 64-bit integers")]
    Overflow { key: String, value: i64, by: i64 },
}

/// The process-wide store. `namespace` is the plugin's name: one plugin never sees another's keys.
pub struct Kv {
    map: BoundedMap<Entry>,
    clock: Arc<dyn Clock>,
}

impl Kv {
    /// 64 MiB and a million entries: enough for a cache of sessions, little beside 64 MiB for each VM.
    pub const DEFAULT_BOUNDS: Bounds = Bounds { entries: 1_000_000, bytes: 64 << 20 };

    pub fn new(bounds: Bounds, clock: Arc<dyn Clock>) -> Self {
        Kv { map: BoundedMap::new(bounds), clock }
    }

    pub fn get(&self, namespace: &str, key: &[u8]) -> Option<KvValue> {
        let key = scoped(namespace, key);
        let now = self.clock.now();
        let mut shard = self.map.shard(key);
        let entry = shard.get(key, now)?;
        entry.used_at = now;
        Some(entry.value.clone())
    }

    /// Stores `value`, for `ttl` when there is one. An older value and its time to live are gone.
    pub fn set(&self, namespace: &str, key: &[u8], value: KvValue, ttl: Option<Duration>) -> Result<(), KvError> {
        let key = scoped(namespace, key);
        let now = self.clock.now();
        let entry = Entry::new(value, now, ttl);
        let mut shard = self.map.shard(key);
        let size = key.scope.len() + key.key.len() + entry.heap();
        if size > shard.room() {
            let max = shard.room();
            return Err(KvError::TooLarge { size, max });
        }
        shard.insert(key, entry, now);
        Ok(())
    }

    /// Adds `by` and returns the sum; an absent key counts from 0. `ttl` starts when the key is created and is not
    /// renewed by later calls, so that a counter with a time to live is a fixed window.
    pub fn incr(&self, namespace: &str, key: &[u8], by: i64, ttl: Option<Duration>) -> Result<i64, KvError> {
        let scoped = scoped(namespace, key);
        let now = self.clock.now();
        let name = || String::from_utf8_lossy(key).into_owned();
        let mut shard = self.map.shard(scoped);
        let size = scoped.scope.len() + scoped.key.len();
        if size > shard.room() {
            let max = shard.room();
            return Err(KvError::TooLarge { size, max });
        }
        let fresh = || Entry::new(KvValue::Int(0), now, ttl);
        shard.update(scoped, now, fresh, |entry| {
            let KvValue::Int(value) = entry.value else {
                return Err(KvError::NotAnInteger { key: name() });
            };
            let key = name;
            let sum = value.checked_add(by).ok_or_else(|| KvError::Overflow { key: key(), value, by })?;
            entry.value = KvValue::Int(sum);
            entry.used_at = now;
            Ok(sum)
        })
    }

    /// Whether there was something to delete.
    pub fn delete(&self, namespace: &str, key: &[u8]) -> bool {
        let key = scoped(namespace, key);
        let now = self.clock.now();
        let removed = self.map.shard(key).remove(key);
        removed.is_some_and(|entry| entry.expires_at > now)
    }

    /// Entries now held, expired ones that have not been swept yet included.
    pub fn len(&self) -> usize {
        self.map.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes now held, with the allowance for each entry.
    pub fn bytes(&self) -> usize {
        self.map.bytes()
    }
}

struct Entry {
    value: KvValue,
    expires_at: u64,
    used_at: u64,
}

impl Entry {
    fn new(value: KvValue, now: u64, ttl: Option<Duration>) -> Self {
        // A slice of a larger buffer would keep the whole of it alive behind the bound's back.
        let value = match value {
            KvValue::Bytes(bytes) => KvValue::Bytes(Bytes::copy_from_slice(&bytes)),
            KvValue::Int(int) => KvValue::Int(int),
        };
        Entry { value, expires_at: ttl.map_or(u64::MAX, |ttl| now.saturating_add(micros(ttl))), used_at: now }
    }
}

impl Resident for Entry {
    fn expires_at(&self) -> u64 {
        self.expires_at
    }

    fn heap(&self) -> usize {
        match &self.value {
            KvValue::Bytes(bytes) => bytes.len(),
            KvValue::Int(_) => 0,
        }
    }

    fn rank(&self) -> u64 {
        self.used_at
    }
}

fn scoped<'a>(namespace: &'a str, key: &'a [u8]) -> KeyRef<'a> {
    KeyRef { scope: namespace.as_bytes(), key }
}

#[cfg(test)]
mod tests {
    use super::super::clock::ManualClock;
    use super::*;

    fn kv(entries: usize, bytes: usize) -> (Kv, Arc<ManualClock>) {
        let clock = Arc::new(ManualClock::default());
        (Kv::new(Bounds { entries, bytes }, clock.clone()), clock)
    }

    fn text(text: &str) -> KvValue {
        KvValue::Bytes(Bytes::copy_from_slice(text.as_bytes()))
    }

    #[test]
    fn a_value_lives_for_its_ttl_and_no_longer() {
        let (kv, clock) = kv(1000, 1 << 20);
        kv.set("p", b"k", text("v"), Some(Duration::from_secs(5))).unwrap();
        clock.advance(Duration::from_micros(4_999_999));
        assert_eq!(kv.get("p", b"k"), Some(text("v")));
        clock.advance(Duration::from_micros(1));
        assert_eq!(kv.get("p", b"k"), None);
        assert!(!kv.delete("p", b"k"));
    }

    #[test]
    fn namespaces_do_not_meet() {
        let (kv, _) = kv(1000, 1 << 20);
        kv.set("ab", b"c", text("1"), None).unwrap();
        assert_eq!(kv.get("a", b"bc"), None);
        kv.set("a", b"bc", text("2"), None).unwrap();
        assert_eq!(kv.get("ab", b"c"), Some(text("1")));
        assert!(kv.delete("a", b"bc"));
        assert_eq!(kv.get("ab", b"c"), Some(text("1")));
    }

    #[test]
    fn incr_keeps_the_ttl_of_the_first_call() {
        let (kv, clock) = kv(1000, 1 << 20);
        let ttl = Some(Duration::from_secs(10));
        assert_eq!(kv.incr("p", b"n", 2, ttl), Ok(2));
        clock.advance(Duration::from_secs(9));
        assert_eq!(kv.incr("p", b"n", -5, ttl), Ok(-3));
        clock.advance(Duration::from_secs(1));
        assert_eq!(kv.incr("p", b"n", 1, ttl), Ok(1));
    }

    #[test]
    fn incr_says_what_is_wrong_and_changes_nothing() {
        let (kv, _) = kv(1000, 1 << 20);
        kv.set("p", b"t", text("7"), None).unwrap();
        let error = kv.incr("p", b"t", 1, None).unwrap_err();
        assert_eq!(error.to_string(), "kv: `t` holds bytes, not an integer");
        kv.set("p", b"n", KvValue::Int(i64::MAX), None).unwrap();
        let error = kv.incr("p", b"n", 1, None).unwrap_err();
        assert_eq!(error.to_string(), "kv: `n` is 9223372036854775807; adding 1 leaves the 64-bit integers");
        assert_eq!(kv.get("p", b"n"), Some(KvValue::Int(i64::MAX)));
    }

    #[test]
    fn stays_within_entries_and_bytes() {
        let (kv, clock) = kv(64 * 10, 64 * 10_000);
        for i in 0..20_000_u32 {
            clock.advance(Duration::from_micros(1));
            let value = KvValue::Bytes(Bytes::from(vec![b'x'; (i % 3000) as usize]));
            kv.set("p", &i.to_be_bytes(), value, None).unwrap();
            assert!(kv.len() <= 640 && kv.bytes() <= 640_000);
        }
        assert!(kv.len() > 100, "{} entries left", kv.len());
    }

    #[test]
    fn an_entry_that_can_never_fit_is_refused() {
        let (kv, _) = kv(64, 64 * 1000);
        let error = kv.set("p", b"k", text(&"x".repeat(2000)), None);
        assert_eq!(error.unwrap_err().to_string(), "kv: an entry of 2002 bytes is over the limit of 904");
        assert!(kv.is_empty());
    }

    #[test]
    fn expired_entries_go_before_live_ones() {
        // Given a full store, half of it expired
        let (kv, clock) = kv(64 * 8, 1 << 20);
        for i in 0..512_u32 {
            let ttl = (i % 2 == 0).then_some(Duration::from_secs(1));
            kv.set("p", &i.to_be_bytes(), KvValue::Int(1), ttl).unwrap();
        }
        let live = |kv: &Kv| {
            let odd = (0..512_u32).filter(|i| i % 2 == 1);
            odd.filter(|i| kv.get("p", &i.to_be_bytes()).is_some()).count()
        };
        let before = live(&kv);
        clock.advance(Duration::from_secs(1));
        // When one more comes
        kv.set("q", b"new", KvValue::Int(1), None).unwrap();
        // Then no live one had to go
        assert_eq!(live(&kv), before);
    }

    #[test]
    fn recently_read_entries_outlive_idle_ones() {
        let (kv, clock) = kv(64 * 16, 1 << 20);
        kv.set("p", b"hot", KvValue::Int(1), None).unwrap();
        for i in 0..50_000_u32 {
            clock.advance(Duration::from_micros(1));
            kv.set("p", &i.to_be_bytes(), KvValue::Int(1), None).unwrap();
            assert_eq!(kv.get("p", b"hot"), Some(KvValue::Int(1)));
        }
    }
}
