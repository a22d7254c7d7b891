//! What Redis refused a moment ago, so that who keeps knocking is answered without asking again.
//!
//! No model counts a refused request, and what others do meanwhile only fills the window or empties the bucket: a refusal is one until its
//! time is over, however often it is asked for. It is kept for a second at most, so that an operator's `DEL` or `FLUSHALL` is seen soon.
//! Envoy's rate limit service does the same (<https://github.com/envoyproxy/ratelimit>, "Local Cache"). One worker's; it never lets anything pass.

use std::cell::Cell;
use std::time::Duration;

use super::super::bounded::{BoundedMap, Bounds, KeyRef, Resident};
use super::super::clock::{Clock, SystemClock, micros};
use super::super::limit::{Decision, LimitRequest, Rule};

/// Microseconds that a refusal is believed.
const LONGEST: u64 = 1_000_000;
/// One that finds no room is asked for again.
const BOUNDS: Bounds = Bounds { entries: 16_384, bytes: 4 << 20 };

pub(super) struct Refusals {
    known: BoundedMap<Refusal>,
    clock: SystemClock,
    /// When the last of them will be over: after that nothing need be looked for.
    last_until: Cell<u64>,
    /// Whether there ever was one that left something for requests that cost less.
    some_remained: Cell<bool>,
}

struct Refusal {
    decision: Decision,
    /// What would have had to be free.
    need: u64,
    told_at: u64,
    until: u64,
}

impl Resident for Refusal {
    fn expires_at(&self) -> u64 {
        self.until
    }

    fn heap(&self) -> usize {
        0
    }

    fn rank(&self) -> u64 {
        self.until
    }
}

impl Refusals {
    pub fn new() -> Self {
        Refusals {
            known: BoundedMap::new(BOUNDS),
            clock: SystemClock::new(),
            last_until: Cell::new(0),
            some_remained: Cell::new(false),
        }
    }

    /// Microseconds on the clock of this worker.
    pub fn now(&self) -> u64 {
        self.clock.now()
    }

    /// The refusal that Redis would answer with, when that is known.
    pub fn find(&self, request: &LimitRequest<'_>, now: u64) -> Option<Decision> {
        if now >= self.last_until.get() {
            return None;
        }
        let scope = scope(&request.rule);
        let key = KeyRef { scope: &scope, key: request.key };
        let mut shard = self.known.shard(key);
        // For less than what was refused there may be room, and for more the time to wait is another.
        let refusal = shard.get(key, now).filter(|refusal| refusal.need == need(request))?;
        let passed = Duration::from_micros(now.saturating_sub(refusal.told_at));
        let decision = refusal.decision;
        Some(Decision {
            reset_after: decision.reset_after.saturating_sub(passed),
            retry_after: decision.retry_after.saturating_sub(passed),
            ..decision
        })
    }

    /// Learns what Redis decided on a request that was sent at `sent`.
    ///
    /// Redis answered between then and now. So the refusal is over a time after `sent`, and what is told of it counts from now: it never lasts
    /// longer than Redis', and nobody is told less than there is to wait.
    pub fn learn(&self, request: &LimitRequest<'_>, decision: &Decision, sent: u64) {
        if decision.allowed {
            return self.passed(request);
        }
        // What is over the limit never passes, and its time is not one after which it would.
        if need(request) > decision.limit {
            return;
        }
        // Without anybody else something remains from `reset_after` on, of which a request that needs more may only be told by Redis.
        let lasts = micros(decision.reset_after.min(decision.retry_after)).min(LONGEST);
        let (now, until) = (self.now(), sent.saturating_add(lasts));
        if until <= now {
            return;
        }
        let scope = scope(&request.rule);
        let key = KeyRef { scope: &scope, key: request.key };
        let refusal = Refusal { decision: *decision, need: need(request), told_at: now, until };
        self.known.shard(key).insert(key, refusal, now);
        self.last_until.set(self.last_until.get().max(until));
        if decision.remaining > 0 {
            self.some_remained.set(true);
        }
    }

    /// One that cost less has passed: who needs more waits longer now, and less remains.
    fn passed(&self, request: &LimitRequest<'_>) {
        if self.some_remained.get() && request.cost > 0 {
            let scope = scope(&request.rule);
            let key = KeyRef { scope: &scope, key: request.key };
            self.known.shard(key).remove(key);
        }
    }
}

fn need(request: &LimitRequest<'_>) -> u64 {
    u64::from(request.cost).max(1)
}

/// The whole rule: what one refuses, another may let pass.
fn scope(rule: &Rule) -> [u8; 25] {
    let (one, two) = match *rule {
        Rule::SlidingWindow { limit, .. } => (limit, 0),
        Rule::TokenBucket { rate, burst } => (rate.to_bits(), burst),
    };
    let mut scope = [0; 25];
    scope[..9].copy_from_slice(&rule.tag());
    scope[9..17].copy_from_slice(&one.to_be_bytes());
    scope[17..].copy_from_slice(&two.to_be_bytes());
    scope
}
