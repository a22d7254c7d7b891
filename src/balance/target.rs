//! One target as the process knows it: whether it is up, what failed in a row, how many requests it has.
//!
//! Its standing is one atomic byte that balancing reads. It follows from three sources, in this order: the operator's hand, active
//! checks, and ejection by failures of real requests. An ejection ends by itself: when its time is over one real request is let
//! through (half-open), and what becomes of it decides. Purposefully not taken out of the list meanwhile, or nothing would ever try it.

use super::{Breaker, rate::Rate};
use crate::config::PassiveCheck;
use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};
use tokio::sync::Semaphore;

/// Whether a target may be chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    Up,
    /// By hand or by active checks.
    Down,
    /// For a time, by failures of real requests.
    Ejected,
}

/// What the operator says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Hand {
    #[default]
    Auto,
    Up,
    Down,
}

/// Why a try failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// No connection could be made.
    Unreached,
    /// The connection broke, or what came was not HTTP.
    Broken,
    Timeout,
    /// An answer with a status that counts as a failure.
    Status,
}

#[derive(Default)]
pub struct TargetState {
    standing: AtomicU8,
    in_flight: AtomicU32,
    /// In a row: of any kind, and by kind.
    row: AtomicU32,
    row_http: AtomicU32,
    row_tcp: AtomicU32,
    row_timeouts: AtomicU32,
    failures: AtomicU64,
    /// Counts only where the service has a `failure_rate` or `max_deviation`.
    rate: Rate,
    tries: AtomicU64,
    ejected: AtomicU64,
    /// Of active checks, by what they found: good, bad, neither.
    checks: [AtomicU64; 3],
    /// When it last came back; 0: it was never away.
    up_since: AtomicU64,
    /// Its own; looked at where the service's `circuit_breaker` has `targets`.
    pub breaker: Breaker,
    /// Tries that wait for a connection.
    pub pending: AtomicU32,
    connections: Mutex<(u32, Option<Arc<Semaphore>>)>,
    changes: Mutex<Changes>,
}

/// What changes seldom.
#[derive(Default)]
struct Changes {
    hand: Hand,
    checks_failed: bool,
    ejected_until: Option<u64>,
    ejections: u32,
    /// A real request tries it out.
    probing: bool,
}

impl TargetState {
    pub fn new(up_since: u64) -> TargetState {
        TargetState { up_since: AtomicU64::new(up_since), ..TargetState::default() }
    }

    /// What holds that many connections; the same as before while their number is.
    pub fn connections(&self, most: u32) -> Option<Arc<Semaphore>> {
        let mut known = self.connections.lock().unwrap_or_else(PoisonError::into_inner);
        if known.0 != most {
            *known = (most, (most > 0).then(|| Arc::new(Semaphore::new(most as usize))));
        }
        known.1.clone()
    }

    /// It comes back after its breaker was open, and begins slowly.
    pub fn returned(&self, now: u64) {
        self.up_since.store(now, Relaxed);
    }

    pub fn standing(&self) -> Standing {
        match self.standing.load(Relaxed) {
            0 => Standing::Up,
            1 => Standing::Down,
            _ => Standing::Ejected,
        }
    }

    pub fn in_flight(&self) -> u32 {
        self.in_flight.load(Relaxed)
    }

    /// Whether the last thing that was seen of it was good.
    pub fn is_well(&self) -> bool {
        self.row.load(Relaxed) == 0
    }

    /// Failures since the process knows it.
    pub fn failures(&self) -> u64 {
        self.failures.load(Relaxed)
    }

    /// Requests sent to it since the process knows it.
    pub fn tries(&self) -> u64 {
        self.tries.load(Relaxed)
    }

    /// How often it was ejected since the process knows it.
    pub fn ejections(&self) -> u64 {
        self.ejected.load(Relaxed)
    }

    /// Active checks that found it good, bad, and neither.
    pub fn checks(&self) -> [u64; 3] {
        self.checks.each_ref().map(|count| count.load(Relaxed))
    }

    /// Counts an active check; None: what it found counts neither way.
    pub fn looked(&self, good: Option<bool>) {
        self.checks[good.map_or(2, |good| usize::from(!good))].fetch_add(1, Relaxed);
    }

    pub fn hand(&self) -> Hand {
        self.lock().hand
    }

    pub fn up_since(&self) -> u64 {
        self.up_since.load(Relaxed)
    }

    /// When an ejection ends.
    pub fn ejected_until(&self) -> Option<u64> {
        self.lock().ejected_until
    }

    /// Whether an ejection is over and nobody tries it yet.
    pub fn awaits_trial(&self, now: u64) -> bool {
        let changes = self.lock();
        self.standing() == Standing::Ejected && !changes.probing && changes.ejected_until.is_some_and(|end| end <= now)
    }

    /// Begins a try. True: it is the one that decides whether an ejection ends.
    pub fn begin(&self) -> bool {
        self.in_flight.fetch_add(1, Relaxed);
        self.tries.fetch_add(1, Relaxed);
        self.standing() == Standing::Ejected && !std::mem::replace(&mut self.lock().probing, true)
    }

    /// Ends a try, whatever came of it; a trial that came to nothing is open to the next.
    pub fn end(&self, trial: bool) {
        self.in_flight.fetch_sub(1, Relaxed);
        if trial {
            self.lock().probing = false;
        }
    }

    pub fn succeeded(&self, trial: bool, policy: Option<&PassiveCheck>, now: impl Fn() -> u64) {
        if let Some(policy) = policy.filter(|policy| policy.counts_all()) {
            self.rate.count(false, policy.window, now());
        }
        if self.row.load(Relaxed) != 0 {
            self.clear_rows();
        }
        if trial {
            let mut changes = self.lock();
            (changes.ejected_until, changes.probing) = (None, false);
            self.up_since.store(now(), Relaxed);
            self.judge(&changes);
        }
    }

    /// Counts a failure, and ejects the target when there were too many; `may_eject` says whether the others allow it.
    /// True when it was ejected now.
    pub fn failed(
        &self,
        cause: Cause,
        trial: bool,
        policy: Option<&PassiveCheck>,
        now: u64,
        may_eject: impl FnOnce() -> bool,
    ) -> bool {
        self.failures.fetch_add(1, Relaxed);
        let row = self.row.fetch_add(1, Relaxed) + 1;
        let (kind, limit) = match cause {
            Cause::Unreached | Cause::Broken => (&self.row_tcp, policy.map_or(0, |p| p.tcp_failures)),
            Cause::Timeout => (&self.row_timeouts, policy.map_or(0, |p| p.timeouts)),
            Cause::Status => (&self.row_http, policy.map_or(0, |p| p.http_failures)),
        };
        let of_kind = kind.fetch_add(1, Relaxed) + 1;
        let Some(policy) = policy else { return false };
        let reached = |count: u32, limit: u32| limit > 0 && count >= limit;
        if policy.counts_all() {
            self.rate.count(true, policy.window, now);
        }
        let reached_by = |rate| self.rate.reached(rate, policy.min_requests, policy.window, now);
        let too_often = policy.failure_rate.is_some_and(reached_by);
        if !trial && !too_often && !reached(row, policy.failures) && !reached(of_kind, limit) {
            return false;
        }
        self.eject(trial, policy, now, may_eject)
    }

    /// The share of its requests that did not fail lately, when there were enough of them.
    pub fn successes(&self, policy: &PassiveCheck, now: u64) -> Option<f64> {
        self.rate.successes(policy.min_requests, policy.window, now)
    }

    /// Leaves it out for a while, unless it is already. `trial`: it was being tried out. True when it was ejected now.
    pub fn eject(&self, trial: bool, policy: &PassiveCheck, now: u64, may_eject: impl FnOnce() -> bool) -> bool {
        let mut changes = self.lock();
        let stays_out = trial && changes.ejected_until.is_some();
        if !stays_out && (changes.ejected_until.is_some() || !may_eject()) {
            return false;
        }
        // It kept well for long: this is not the next of those before.
        let longest = millis(policy.max_eject_for);
        if !stays_out && now.saturating_sub(self.up_since()) > longest {
            changes.ejections = 0;
        }
        changes.ejections = changes.ejections.saturating_add(1);
        self.ejected.fetch_add(1, Relaxed);
        let time = millis(policy.eject_for).saturating_mul(u64::from(changes.ejections)).min(longest);
        changes.ejected_until = Some(now.saturating_add(time));
        changes.probing = false;
        self.forget();
        self.judge(&changes);
        true
    }

    /// What active checks found. True when that changed.
    pub fn checked(&self, good: bool, now: u64) -> bool {
        let mut changes = self.lock();
        if changes.checks_failed != good {
            return false;
        }
        changes.checks_failed = !good;
        if good {
            self.up_since.store(now, Relaxed);
            self.forget();
        }
        self.judge(&changes);
        true
    }

    /// Active checks are gone, and with them what they found.
    pub fn unchecked(&self) {
        let mut changes = self.lock();
        changes.checks_failed = false;
        self.judge(&changes);
    }

    /// By hand, until `Auto`; that forgets ejections as well.
    pub fn set(&self, hand: Hand) {
        let mut changes = self.lock();
        changes.hand = hand;
        (changes.ejected_until, changes.ejections) = (None, 0);
        self.forget();
        self.judge(&changes);
    }

    fn judge(&self, changes: &Changes) {
        let standing = match changes {
            Changes { hand: Hand::Up, .. } => 0,
            Changes { hand: Hand::Down, .. } | Changes { checks_failed: true, .. } => 1,
            Changes { ejected_until: Some(_), .. } => 2,
            _ => 0,
        };
        self.standing.store(standing, Relaxed);
    }

    fn clear_rows(&self) {
        for row in [&self.row, &self.row_http, &self.row_tcp, &self.row_timeouts] {
            row.store(0, Relaxed);
        }
    }

    fn forget(&self) {
        self.clear_rows();
        self.rate.clear();
    }

    fn lock(&self) -> MutexGuard<'_, Changes> {
        self.changes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fail(target: &TargetState, trial: bool, now: u64) -> bool {
        target.failed(Cause::Status, trial, Some(&PassiveCheck::default()), now, || true)
    }

    #[test]
    fn five_failures_in_a_row_eject_and_one_success_in_between_does_not() {
        let target = TargetState::default();
        let ejected: Vec<bool> = (0..4).map(|_| fail(&target, false, 0)).collect();
        target.succeeded(false, None, || 0);
        let again: Vec<bool> = (0..5).map(|_| fail(&target, false, 0)).collect();
        assert_eq!((ejected, again), (vec![false; 4], vec![false, false, false, false, true]));
        assert_eq!(target.standing(), Standing::Ejected);
    }

    #[test]
    fn failures_in_between_eject_by_their_rate() {
        let policy = PassiveCheck { failure_rate: Some(50), min_requests: 10, ..PassiveCheck::default() };
        let target = TargetState::default();
        let mut ejected = Vec::new();
        for _ in 0..5 {
            target.succeeded(false, Some(&policy), || 0);
            ejected.push(target.failed(Cause::Status, false, Some(&policy), 0, || true));
        }
        assert_eq!((ejected, target.standing()), (vec![false, false, false, false, true], Standing::Ejected));
        // What was before its ejection is forgotten after it.
        assert!(target.begin());
        target.succeeded(true, Some(&policy), || 30_000);
        assert!(!target.failed(Cause::Status, false, Some(&policy), 30_000, || true));
    }

    #[test]
    fn after_its_time_one_request_decides_and_each_time_in_a_row_is_longer() {
        let target = TargetState::default();
        assert_eq!((0..5).filter(|_| fail(&target, false, 0)).count(), 1);
        assert_eq!((target.awaits_trial(29_999), target.awaits_trial(30_000)), (false, true));
        assert!(target.begin());
        assert!(!target.awaits_trial(30_000), "a second request tried it");
        assert!(fail(&target, true, 30_000));
        target.end(true);
        assert_eq!(target.ejected_until(), Some(90_000));
        assert!(target.begin());
        target.succeeded(true, None, || 90_000);
        target.end(true);
        assert_eq!((target.standing(), target.up_since(), target.in_flight()), (Standing::Up, 90_000, 0));
    }

    #[test]
    fn a_hand_counts_more_than_checks_and_checks_more_than_failures() {
        let target = TargetState::default();
        assert_eq!((target.checked(false, 1), target.checked(false, 2)), (true, false));
        assert_eq!(target.standing(), Standing::Down);
        target.set(Hand::Up);
        assert_eq!(target.standing(), Standing::Up);
        target.set(Hand::Auto);
        assert_eq!(target.standing(), Standing::Down);
        target.checked(true, 3);
        assert_eq!(target.standing(), Standing::Up);
    }
}
