//! The circuit breaker of a service or of a target: a rate over a sliding window; open, half-open, recovering, closed.
//!
//! The window is ten buckets; one is a word with its epoch and its count, so that a good answer costs one addition. Only a
//! failure looks at the rate. Open: all is refused until its time is over. Half-open: as many real requests as must succeed are let
//! through, and one failure opens it again. Requests that began before it opened change nothing any more, nor do their bodies: each
//! carries the round in which it began, and a round ends when it opens. Recovering, by option: a share of the requests that grows
//! evenly is let through, and the rate counts again (Traefik's `recoveryDuration`; the share is kept by counting, as in oxy's
//! `RatioController`).

use super::Clock;
use crate::config::CircuitBreaker;
use std::{
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

const BUCKETS: usize = 10;
/// Of a bucket's word: 24 bits of epoch above 40 bits of count.
const COUNT: u64 = (1 << 40) - 1;
/// Failures below, slow answers above.
const SLOW: u64 = 1 << 32;
/// The lowest two bits of the standing.
const TRIPPED: u32 = 3;
const CLOSED: u32 = 0;
const OPEN: u32 = 1;
const RECOVERING: u32 = 2;
/// In percent, of a recovery that has just begun: with none it would never find out anything.
const LEAST_SHARE: u64 = 10;

#[derive(Default)]
pub struct Breaker {
    /// How it stands, and above that the round: one word, so that who is let through knows both as of one moment. Not `CLOSED`
    /// is the rare case, looked at behind the lock; written behind it only.
    standing: AtomicU32,
    buckets: [Bucket; BUCKETS],
    trip: Mutex<Trip>,
}

#[derive(Default)]
struct Bucket {
    total: AtomicU64,
    bad: AtomicU64,
}

#[derive(Default)]
struct Trip {
    state: State,
    /// When being open, or recovering, ends.
    until: u64,
    probes: u32,
    succeeded: u32,
    /// Since it recovers: when that began, who asked and who was let through.
    since: u64,
    asked: u64,
    passed: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum State {
    #[default]
    Closed,
    Open,
    HalfOpen,
    Recovering,
}

impl State {
    pub fn name(self) -> &'static str {
        match self {
            State::Closed => "closed",
            State::Open => "open",
            State::HalfOpen => "half_open",
            State::Recovering => "recovering",
        }
    }
}

/// What became of a breaker by the outcome of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    Opened,
    /// At once, or by and by.
    Closed,
}

/// How often a breaker had opened when a request began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Round(u32);

/// How long until another try makes sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused {
    pub after: Duration,
}

/// The leave to ask a service. Dropped without an outcome, as when the client goes away, it counts for nothing.
pub struct Permit<'b> {
    breaker: Option<(&'b Breaker, &'b CircuitBreaker)>,
    clock: Clock,
    started: Instant,
    probe: bool,
    round: Round,
}

impl Breaker {
    /// # Errors
    /// The breaker is open, or enough requests try the service already.
    pub fn admit<'b>(
        &'b self,
        policy: Option<&'b CircuitBreaker>,
        clock: Clock,
        started: Instant,
    ) -> Result<Permit<'b>, Refused> {
        let standing = self.standing.load(Relaxed);
        let mut permit = Permit {
            breaker: policy.map(|policy| (self, policy)),
            clock,
            started,
            probe: false,
            round: round(standing),
        };
        if let Some(policy) = policy
            && standing & TRIPPED != CLOSED
        {
            (permit.probe, permit.round) = self.admit_probe(policy, clock.now())?;
        }
        Ok(permit)
    }

    pub fn state(&self) -> State {
        self.lock().state
    }

    /// Whether a request would be let through, without asking for it: what balancing looks at. One that recovers is full enough for
    /// it: how much a target gets that comes back is `slow_start`'s.
    pub fn lets(&self, policy: &CircuitBreaker, now: impl FnOnce() -> u64) -> bool {
        self.tripped() == CLOSED || self.lets_now(policy, now())
    }

    #[cold]
    fn lets_now(&self, policy: &CircuitBreaker, now: u64) -> bool {
        let trip = self.lock();
        match trip.state {
            State::Closed | State::Recovering => true,
            State::Open => now >= trip.until,
            State::HalfOpen => trip.probes + trip.succeeded < policy.half_open_requests,
        }
    }

    /// When it lets a request through again, while it is open.
    pub fn opens_at(&self) -> Option<u64> {
        let trip = self.lock();
        (trip.state == State::Open).then_some(trip.until)
    }

    /// The body of an answer broke whose head was counted as good; `began`: the round of its permit.
    pub fn broke(&self, policy: &CircuitBreaker, began: Round, now: u64) -> Option<Turn> {
        if began != self.round() {
            return None;
        }
        match self.state() {
            State::Closed | State::Recovering => self.count(policy, began, 0, 1, now),
            State::HalfOpen => self.open(policy, began, now),
            State::Open => None,
        }
    }

    fn tripped(&self) -> u32 {
        self.standing.load(Relaxed) & TRIPPED
    }

    fn round(&self) -> Round {
        round(self.standing.load(Relaxed))
    }

    /// Stays in its round; `trip` shows that the lock is held.
    fn stand(&self, _trip: &mut Trip, tripped: u32) {
        self.standing.store(self.standing.load(Relaxed) & !TRIPPED | tripped, Relaxed);
    }

    #[cold]
    fn admit_probe(&self, policy: &CircuitBreaker, now: u64) -> Result<(bool, Round), Refused> {
        let mut trip = self.lock();
        let round = self.round();
        match trip.state {
            State::Closed => return Ok((false, round)),
            State::Open if now < trip.until => {
                return Err(Refused { after: Duration::from_millis(trip.until - now) });
            }
            State::Open => *trip = Trip { state: State::HalfOpen, ..Trip::default() },
            State::HalfOpen => {}
            State::Recovering => return self.admit_share(&mut trip, now).map(|()| (false, round)),
        }
        if trip.probes + trip.succeeded >= policy.half_open_requests {
            return Err(Refused { after: Duration::from_secs(1) });
        }
        trip.probes += 1;
        Ok((true, round))
    }

    fn admit_share(&self, trip: &mut Trip, now: u64) -> Result<(), Refused> {
        let length = trip.until.saturating_sub(trip.since).max(1);
        let share = now.saturating_sub(trip.since) * 100 / length;
        if share >= 100 {
            *trip = Trip::default();
            self.stand(trip, CLOSED);
            return Ok(());
        }
        trip.asked += 1;
        if (trip.passed + 1) * 100 > trip.asked * share.max(LEAST_SHARE) && trip.passed > 0 {
            return Err(Refused { after: Duration::from_secs(1) });
        }
        trip.passed += 1;
        Ok(())
    }

    fn record(&self, policy: &CircuitBreaker, began: Round, failed: bool, slow: bool, now: u64) -> Option<Turn> {
        self.count(policy, began, 1, u64::from(failed) + if slow { SLOW } else { 0 }, now)
    }

    /// Counts that many requests, and bad ones.
    fn count(&self, policy: &CircuitBreaker, began: Round, requests: u64, bad: u64, now: u64) -> Option<Turn> {
        let length = (millis(policy.window) / BUCKETS as u64).max(1);
        let epoch = now / length;
        let bucket = &self.buckets[(epoch % BUCKETS as u64) as usize];
        let word = bucket.total.load(Relaxed);
        let mark = epoch << 40;
        if word & !COUNT == mark {
            bucket.total.fetch_add(requests, Relaxed);
        } else if bucket.total.compare_exchange(word, mark | requests, Relaxed, Relaxed).is_ok() {
            bucket.bad.store(0, Relaxed);
        } else {
            bucket.total.fetch_add(requests, Relaxed);
        }
        if bad == 0 {
            return None;
        }
        bucket.bad.fetch_add(bad, Relaxed);
        let (mut total, mut failures, mut slows) = (0, 0, 0);
        for bucket in &self.buckets {
            let word = bucket.total.load(Relaxed);
            // Epochs are 24 bits: the difference is taken within those.
            let age = (epoch.wrapping_sub(word >> 40)) & 0xFF_FFFF;
            if word != 0 && age < BUCKETS as u64 {
                let bad = bucket.bad.load(Relaxed);
                total += word & COUNT;
                failures += bad % SLOW;
                slows += bad / SLOW;
            }
        }
        let reached = |bad: u64, rate: u32| bad * 100 >= total * u64::from(rate);
        let too_slow = policy.slow_call.is_some() && reached(slows, policy.slow_rate);
        let is_reached =
            total >= u64::from(policy.min_requests) && (reached(failures, policy.failure_rate) || too_slow);
        if is_reached { self.open(policy, began, now) } else { None }
    }

    /// Opens for what began in that round, unless another worker has meanwhile.
    #[cold]
    fn open(&self, policy: &CircuitBreaker, began: Round, now: u64) -> Option<Turn> {
        let mut trip = self.lock();
        if began != self.round() {
            return None;
        }
        self.open_now(&mut trip, policy, now);
        Some(Turn::Opened)
    }

    fn open_now(&self, trip: &mut Trip, policy: &CircuitBreaker, now: u64) {
        let until = now.saturating_add(millis(policy.open_for));
        *trip = Trip { state: State::Open, until, ..Trip::default() };
        self.standing.store((self.standing.load(Relaxed) & !TRIPPED).wrapping_add(TRIPPED + 1) | OPEN, Relaxed);
    }

    /// At once, or by and by.
    fn close(&self, trip: &mut Trip, policy: &CircuitBreaker, now: u64) {
        *trip = Trip::default();
        if let Some(time) = policy.recover_over {
            (trip.state, trip.since, trip.until) = (State::Recovering, now, now.saturating_add(millis(time)));
        }
        for bucket in &self.buckets {
            bucket.total.store(0, Relaxed);
            bucket.bad.store(0, Relaxed);
        }
        self.stand(trip, if policy.recover_over.is_some() { RECOVERING } else { CLOSED });
    }

    fn probed(&self, policy: &CircuitBreaker, began: Round, good: Option<bool>, now: u64) -> Option<Turn> {
        let mut trip = self.lock();
        if trip.state != State::HalfOpen || began != self.round() {
            return None;
        }
        trip.probes = trip.probes.saturating_sub(1);
        match good {
            None => {}
            Some(true) => {
                trip.succeeded += 1;
                if trip.succeeded >= policy.half_open_requests {
                    self.close(&mut trip, policy, now);
                    return Some(Turn::Closed);
                }
            }
            Some(false) => {
                self.open_now(&mut trip, policy, now);
                return Some(Turn::Opened);
            }
        }
        None
    }

    fn lock(&self) -> MutexGuard<'_, Trip> {
        self.trip.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Permit<'_> {
    /// For what comes after its outcome, as a body that breaks.
    pub fn round(&self) -> Round {
        self.round
    }

    /// What came of it, at that moment, and what of the breaker by that.
    pub fn ended(mut self, failed: bool, at: Instant) -> Option<Turn> {
        let (breaker, policy) = self.breaker.take()?;
        let slow = policy.slow_call.is_some_and(|limit| at.saturating_duration_since(self.started) > limit);
        let now = self.clock.at(at);
        if self.probe {
            return breaker.probed(policy, self.round, Some(!failed && !slow), now);
        }
        if breaker.round() == self.round { breaker.record(policy, self.round, failed, slow, now) } else { None }
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        if let Some((breaker, policy)) = self.breaker
            && self.probe
        {
            breaker.probed(policy, self.round, None, 0);
        }
    }
}

fn round(standing: u32) -> Round {
    Round(standing & !TRIPPED)
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a breaker does with `.` (good), `x` (failed) and `s` (slow) answers, and with time that passes.
    fn run(policy: &CircuitBreaker, steps: &[(u64, &str)]) -> String {
        let (breaker, started) = (Breaker::default(), Instant::now());
        let clock = Clock(started);
        let mut seen = String::new();
        for (at, answers) in steps {
            let now = started + Duration::from_millis(*at);
            for answer in answers.chars() {
                if breaker.tripped() == OPEN {
                    match breaker.admit_probe(policy, *at) {
                        Ok((_, round)) => {
                            breaker.probed(policy, round, Some(answer == '.'), *at);
                        }
                        Err(_) => seen.push('-'),
                    }
                } else if breaker.tripped() == RECOVERING {
                    match breaker.admit_probe(policy, *at) {
                        Ok((_, round)) => {
                            breaker.record(policy, round, answer == 'x', false, *at);
                        }
                        Err(_) => seen.push('-'),
                    }
                } else if answer == 'b' {
                    breaker.record(policy, breaker.round(), false, false, *at);
                    breaker.broke(policy, breaker.round(), *at);
                } else {
                    let began = if answer == 's' { now - Duration::from_secs(2) } else { now };
                    if let Ok(permit) = breaker.admit(Some(policy), clock, began) {
                        permit.ended(answer == 'x', now);
                    }
                }
            }
            seen.push_str(breaker.state().name());
            seen.push(' ');
        }
        seen
    }

    #[test]
    fn it_opens_at_the_rate_and_closes_when_enough_requests_succeed() {
        let policy = CircuitBreaker { min_requests: 4, ..CircuitBreaker::default() };
        for (steps, expected) in [
            (&[(0, "xxx"), (10, "x")][..], "closed open "),
            (&[(0, "...xx"), (10, "x")], "closed open "),
            (&[(0, "....xxx")], "closed "),
            (&[(0, "xxx"), (10_100, "x")], "closed closed "),
            (&[(0, "xxxx"), (4_000, "."), (5_000, ".."), (5_100, ".")], "open -open half_open closed "),
            (&[(0, "xxxx"), (5_000, ".x"), (9_000, "."), (10_000, "...")], "open open -open closed "),
        ] {
            assert_eq!(run(&policy, steps), expected, "{steps:?}");
        }
    }

    #[test]
    fn slow_answers_open_it_when_they_are_asked_about() {
        let slow_call = Some(Duration::from_secs(1));
        let policy = CircuitBreaker { min_requests: 4, slow_rate: 75, slow_call, ..CircuitBreaker::default() };
        assert_eq!(run(&policy, &[(5_000, ".ss"), (5_100, "s")]), "closed open ");
        assert_eq!(run(&CircuitBreaker { slow_call: None, ..policy }, &[(5_000, ".ssssss")]), "closed ");
    }

    #[test]
    fn it_recovers_by_a_share_that_grows_and_counts_meanwhile() {
        let recover_over = Some(Duration::from_secs(10));
        let policy =
            CircuitBreaker { min_requests: 2, half_open_requests: 1, recover_over, ..CircuitBreaker::default() };
        for (steps, expected) in [
            (
                &[(0, "xx"), (5_000, "."), (10_000, "........"), (15_000, ".")][..],
                "open recovering ----recovering closed ",
            ),
            (
                &[(0, "xx"), (5_000, "."), (5_100, ".........."), (5_200, ".")],
                "open recovering ---------recovering -recovering ",
            ),
            (&[(0, "xx"), (5_000, "."), (14_999, "xx"), (15_000, ".")], "open recovering -recovering closed "),
            (&[(0, "xx"), (5_000, "."), (14_999, "xxxx"), (15_000, ".")], "open recovering --open -open "),
        ] {
            assert_eq!(run(&policy, steps), expected, "{steps:?}");
        }
    }

    #[test]
    fn a_body_that_breaks_counts_after_its_head_did() {
        let policy = CircuitBreaker { min_requests: 4, ..CircuitBreaker::default() };
        assert_eq!(run(&policy, &[(0, "..b"), (10, "b")]), "closed open ");
    }

    #[test]
    fn a_probe_without_an_outcome_makes_room_for_the_next() {
        let policy = CircuitBreaker { min_requests: 1, half_open_requests: 1, ..CircuitBreaker::default() };
        let (breaker, clock) = (Breaker::default(), Clock::start());
        breaker.open(&CircuitBreaker { open_for: Duration::ZERO, ..policy.clone() }, breaker.round(), 0);
        let first = breaker.admit(Some(&policy), clock, Instant::now());
        assert!(breaker.admit(Some(&policy), clock, Instant::now()).is_err());
        drop(first);
        assert!(breaker.admit(Some(&policy), clock, Instant::now()).is_ok_and(|permit| permit.probe));
    }

    #[test]
    fn what_began_before_it_opened_is_no_result_of_a_probe() {
        let policy = CircuitBreaker {
            min_requests: 1,
            half_open_requests: 1,
            open_for: Duration::ZERO,
            ..CircuitBreaker::default()
        };
        let (breaker, clock, now) = (Breaker::default(), Clock::start(), Instant::now());
        let admit = || breaker.admit(Some(&policy), clock, now).unwrap_or_else(|refused| panic!("{refused:?}"));
        let (early, good, bad) = (breaker.round(), admit(), admit());
        breaker.open(&policy, early, 0);
        let probe = admit();
        assert!(probe.probe);
        breaker.broke(&policy, early, 0);
        assert_eq!(bad.ended(true, now), None);
        assert_eq!(good.ended(false, now), None);
        assert_eq!(breaker.state(), State::HalfOpen);
        // It opens again under a probe: that one's outcome is none of the next's.
        let second = probe.round();
        breaker.broke(&policy, second, 0);
        let next = admit();
        assert_eq!((next.probe, probe.ended(false, now)), (true, None));
        assert_eq!(breaker.state(), State::HalfOpen);
        assert_eq!(next.ended(false, now), Some(Turn::Closed));
        breaker.broke(&policy, second, 0);
        assert_eq!(breaker.state(), State::Closed);
    }
}
