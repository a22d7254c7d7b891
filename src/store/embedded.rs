//! The limiter that counts in this process: shared by all workers, answering at once.
//!
//! A key is forgotten when its state says no more than a fresh one would, or earlier when the bounds are reached; keys at
//! their limit are the last to be forgotten. Counts survive reloads and end with the process.

use std::sync::Arc;

use super::bounded::{BoundedMap, Bounds, KeyRef};
use super::clock::Clock;
use super::limit::{Answer, AnsweredBy, Check, Decision, LimitRequest, Limiter, Rule};
use super::model::State;

pub struct EmbeddedLimiter {
    map: BoundedMap<State>,
    clock: Arc<dyn Clock>,
}

impl EmbeddedLimiter {
    /// 64 MiB hold 600,000 clients that come now and then, or 8,000 that each use up an exact limit of 1000.
    pub const DEFAULT_BOUNDS: Bounds = Bounds { entries: 600_000, bytes: 64 << 20 };

    pub fn new(bounds: Bounds, clock: Arc<dyn Clock>) -> Self {
        EmbeddedLimiter { map: BoundedMap::new(bounds), clock }
    }

    pub fn decide(&self, key: &[u8], rule: &Rule, cost: u32) -> Decision {
        let scope = rule.tag();
        let key = KeyRef { scope: &scope, key };
        let mut shard = self.map.shard(key);
        // Read under the lock, so that the times of one key never go back.
        let now = self.clock.now();
        let fresh = || State::new(rule, now);
        shard.update(key, now, fresh, |state| state.check(rule, now, u64::from(cost)))
    }

    /// Keys now held, expired ones that have not been swept yet included.
    pub fn len(&self) -> usize {
        self.map.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes now held, with the allowance for each key.
    pub fn bytes(&self) -> usize {
        self.map.bytes()
    }
}

impl Limiter for EmbeddedLimiter {
    fn check(&self, request: LimitRequest<'_>) -> Answer {
        Answer::Ready(Ok(Check {
            decision: self.decide(request.key, &request.rule, request.cost),
            answered_by: AnsweredBy::Embedded,
        }))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::clock::ManualClock;
    use super::*;

    fn limiter(bounds: Bounds) -> (EmbeddedLimiter, Arc<ManualClock>) {
        let clock = Arc::new(ManualClock::default());
        (EmbeddedLimiter::new(bounds, clock.clone()), clock)
    }

    fn per_minute(limit: u64) -> Rule {
        Rule::sliding_window(limit, Duration::from_secs(60)).unwrap()
    }

    #[test]
    fn workers_share_one_count() {
        let (limiter, _) = limiter(EmbeddedLimiter::DEFAULT_BOUNDS);
        let passed: usize = std::thread::scope(|scope| {
            let one = || {
                let allowed = (0..500).filter(|_| limiter.decide(b"k", &per_minute(100), 1).allowed);
                allowed.count()
            };
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(one)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert_eq!(passed, 100);
    }

    #[test]
    fn rules_of_another_window_or_model_count_apart() {
        let (limiter, _) = limiter(EmbeddedLimiter::DEFAULT_BOUNDS);
        assert!(limiter.decide(b"k", &per_minute(1), 1).allowed);
        assert!(!limiter.decide(b"k", &per_minute(1), 1).allowed);
        let hourly = Rule::sliding_window(1, Duration::from_secs(3600)).unwrap();
        assert!(limiter.decide(b"k", &hourly, 1).allowed);
        let bucket = Rule::token_bucket(1.0, 1).unwrap();
        assert!(limiter.decide(b"k", &bucket, 1).allowed);
    }

    #[test]
    fn a_flood_of_keys_stays_in_bounds_and_frees_nobody_who_is_limited() {
        // Given a client at its limit
        let bounds = Bounds { entries: 64 * 20, bytes: 64 * 8000 };
        let (limiter, clock) = limiter(bounds);
        while limiter.decide(b"limited", &per_minute(100), 1).allowed {}
        // When a hundred thousand others come
        for i in 0..100_000_u32 {
            clock.advance(Duration::from_micros(1));
            limiter.decide(&i.to_be_bytes(), &per_minute(100), 1);
            assert!(limiter.len() <= bounds.entries && limiter.bytes() <= bounds.bytes);
        }
        // Then it still is
        assert!(!limiter.decide(b"limited", &per_minute(100), 1).allowed);
    }

    #[test]
    fn growing_logs_stay_in_bounds() {
        let bounds = Bounds { entries: 10_000, bytes: 64 * 20_000 };
        let (limiter, _) = limiter(bounds);
        for i in 0..300_u32 {
            for _ in 0..1000 {
                limiter.decide(&i.to_be_bytes(), &per_minute(1000), 1);
            }
            assert!(limiter.bytes() <= bounds.bytes);
        }
    }

    #[test]
    fn idle_keys_are_swept_as_others_come() {
        let (limiter, clock) = limiter(EmbeddedLimiter::DEFAULT_BOUNDS);
        for i in 0..10_000_u32 {
            limiter.decide(&i.to_be_bytes(), &per_minute(5), 1);
        }
        clock.advance(Duration::from_secs(61));
        for i in 0..10_000_u32 {
            limiter.decide(&(i + 10_000).to_be_bytes(), &per_minute(5), 1);
        }
        assert!(limiter.len() < 12_000, "{} keys", limiter.len());
    }

    #[test]
    fn a_limit_of_zero_holds_no_memory() {
        let (limiter, _) = limiter(EmbeddedLimiter::DEFAULT_BOUNDS);
        assert!(!limiter.decide(b"k", &per_minute(0), 1).allowed);
        assert!(limiter.is_empty());
    }
}
