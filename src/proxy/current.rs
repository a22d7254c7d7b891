//! A service with the targets that it has at this moment: which one is asked, whether it may be, and whether another one is.

use super::{
    attempt::Attempt,
    backend::Backend,
    failure::Failure,
    lineup::{Lineup, Seat},
};
use crate::{
    balance::{
        self, Cause, Member, Permit, Standing, TargetState,
        backoff::{self, Retry},
    },
    config::PassiveCheck,
    upstream::{Kind, Name, Phase, UpstreamError},
};
use http::Method;
use std::{
    ops::Deref,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};
use tokio::sync::OwnedSemaphorePermit;

/// How often a retry looks for a place in the budget again: 25, 75 and 175 ms at most, about 140 together.
const WAITS_FOR_A_PLACE: usize = 3;

/// A service with the targets that it has at this moment.
pub struct Current<'b> {
    backend: &'b Backend,
    lineup: Rc<Lineup>,
}

impl Deref for Current<'_> {
    type Target = Backend;

    fn deref(&self) -> &Backend {
        self.backend
    }
}

impl<'b> Current<'b> {
    pub(super) fn new(backend: &'b Backend, lineup: Rc<Lineup>) -> Current<'b> {
        Current { backend, lineup }
    }

    /// Whether an address of any of its targets is known.
    pub(super) fn is_resolved(&self) -> bool {
        !self.lineup.is_unresolved()
    }

    /// The names of those whose addresses are looked up.
    pub(super) fn names(&self) -> Vec<Arc<Name>> {
        self.lineup.names()
    }

    /// The leave to ask this service at all.
    pub fn admit(&self, started: Instant) -> Result<Permit<'_>, Failure> {
        if let Some(breaker) = &self.breaker
            && breaker.max_concurrent > 0
            && self.in_flight() >= breaker.max_concurrent
        {
            return Err(Failure::Overloaded(self.name.to_string()));
        }
        let admitted = self.state.breaker.admit(self.breaker.as_ref(), self.state.clock, started);
        admitted.map_err(|refused| Failure::BreakerOpen { service: self.name.to_string(), after: refused.after })
    }

    /// The next target, another one than those in `tried` if possible.
    pub fn choose(&self, tried: &[usize], key: Option<u64>) -> Result<usize, Failure> {
        let found = self.lineup.picker.pick(tried, key).ok_or_else(|| self.no_target())?;
        Ok(if self.is_full(found) { self.with_room(found, tried, key) } else { found })
    }

    /// A target of those that were not tried which has a connection to give, or the one that was found.
    #[cold]
    fn with_room(&self, found: usize, tried: &[usize], key: Option<u64>) -> usize {
        let mut passed = tried.to_vec();
        let mut full = found;
        while passed.len() < self.lineup.seats.len() {
            passed.push(full);
            match self.lineup.picker.pick(&passed, key) {
                Some(next) if passed.contains(&next) => break,
                Some(next) if self.is_full(next) => full = next,
                Some(next) => return next,
                None => break,
            }
        }
        found
    }

    fn is_full(&self, index: usize) -> bool {
        self.lineup.seats[index].gate.as_ref().is_some_and(|gate| gate.available_permits() == 0)
    }

    /// A connection to the target, within `max_connections`; waits for it until `connect_timeout` or the deadline.
    pub async fn connection(&self, index: usize, deadline: Instant) -> Result<Option<OwnedSemaphorePermit>, Failure> {
        let Some(gate) = &self.lineup.seats[index].gate else { return Ok(None) };
        if let Ok(free) = gate.clone().try_acquire_owned() {
            return Ok(Some(free));
        }
        let overloaded = || Failure::Overloaded(self.name.to_string());
        let most = self.breaker.as_ref().map_or(0, |breaker| breaker.max_pending);
        let _pending =
            Pending::begin(&self.lineup.picker.members()[index].state.pending, most).ok_or_else(overloaded)?;
        let end = deadline.min(Instant::now() + self.connect);
        match tokio::time::timeout_at(end.into(), gate.clone().acquire_owned()).await {
            Ok(Ok(free)) => Ok(Some(free)),
            Ok(Err(_)) | Err(_) => Err(overloaded()),
        }
    }

    /// None of its targets can be asked: when the next one may be tried.
    pub fn no_target(&self) -> Failure {
        let now = self.state.clock.now();
        let breakers = self.lineup.picker.breaker().is_some();
        let of_breaker = |member: &Member| if breakers { member.state.breaker.opens_at() } else { None };
        let members = self.lineup.picker.members().iter();
        let ends = members.filter_map(|member| member.state.ejected_until().max(of_breaker(member)));
        let after = ends.min().map_or(1_000, |end| end.saturating_sub(now));
        Failure::NoTarget { service: self.name.to_string(), after: Duration::from_millis(after) }
    }

    /// Begins one request to a target, on a connection that it may have.
    pub fn attempt(&self, index: usize, begun: Instant, connection: Option<OwnedSemaphorePermit>) -> Attempt<'_> {
        let target = &self.lineup.picker.members()[index].state;
        // Another worker may have taken the last place of a probe meanwhile: one request more does no harm.
        let admitted =
            self.lineup.picker.breaker().map(|policy| target.breaker.admit(Some(policy), self.state.clock, begun));
        let permit = admitted.and_then(Result::ok);
        let round = permit.as_ref().map(Permit::round).unwrap_or_default();
        let address = &*self.lineup.seats[index].name;
        Attempt { backend: self, target, address, trial: target.begin(), permit, round, connection }
    }

    /// Whether a try that failed is repeated; `retries` ones have been. A target that could not be connected to is passed over in
    /// any case, as in Caddy: nothing was sent.
    pub fn may_retry(&self, error: &UpstreamError, method: &Method, retries: usize) -> bool {
        let unreached = is_unreached(error);
        let allowed = if unreached { self.lineup.seats.len().saturating_sub(1) } else { 0 };
        let repeatable = self.may_repeat(method);
        let slow = self.retry_on.timeout && error.may_retry_slow(repeatable);
        let wanted = slow || (unreached || self.retry_on.reset) && error.may_retry(repeatable);
        wanted && retries < allowed.max(self.retries as usize)
    }

    /// A place in the budget of retries, after `wait`; none when the budget is spent.
    ///
    /// When one of several targets dies, all its requests fail at once, and more of them than the budget has places. As long as another
    /// target is well they wait for one: places come free as fast as it answers. In an outage nobody waits.
    pub async fn begin_retry(
        &self,
        tried: &[usize],
        last: usize,
        mut wait: Duration,
        deadline: Instant,
    ) -> Option<Retry<'_>> {
        for nth in (tried.len() as u32 + 2..).take(1 + WAITS_FOR_A_PLACE) {
            let place = Retry::begin(&self.state.retrying, self.in_flight());
            let another = |index: usize| index != last && !tried.contains(&index) && self.is_well(index);
            if place.is_none() && !(0..self.lineup.seats.len()).any(another) {
                return None;
            }
            tokio::time::sleep(wait.min(deadline.saturating_duration_since(Instant::now()))).await;
            if place.is_some() {
                return place;
            }
            wait = backoff::wait(nth, self.random());
        }
        Retry::begin(&self.state.retrying, self.in_flight())
    }

    pub fn random(&self) -> u64 {
        self.lineup.picker.random()
    }

    fn is_well(&self, index: usize) -> bool {
        let target = &self.lineup.picker.members()[index].state;
        target.standing() == Standing::Up && target.is_well()
    }

    /// Whether nobody is there after this failure, rather than one who failed: that is no answer of a gateway's, and a client may
    /// well come back. So it is when none of several targets could be reached, and also when a request that may be repeated finds
    /// none any more that was well when it was last seen: those that are left out meanwhile are not tried.
    pub fn is_gone(&self, error: &UpstreamError, method: &Method, tried: &[usize], last: usize) -> bool {
        if self.lineup.seats.len() < 2 {
            return false;
        }
        let all = |is_so: &dyn Fn(usize) -> bool| (0..self.lineup.seats.len()).all(is_so);
        let unreached = is_unreached(error);
        let broken = matches!(error.kind, Kind::Reset(_) | Kind::Closed) && error.may_retry(self.may_repeat(method));
        unreached && all(&|index| index == last || tried.contains(&index))
            || (unreached || broken) && all(&|index| !self.is_well(index))
    }

    /// Whether it has more targets than were tried.
    pub fn has_more(&self, tried: usize) -> bool {
        tried < self.lineup.seats.len()
    }

    /// Counts a try that began then and ended now; gives how long it took.
    pub fn counted<T>(&self, index: usize, begun: Instant, ended: &Result<T, UpstreamError>) -> Duration {
        let took = begun.elapsed();
        self.meter.tries.increment();
        self.meter.duration.observe(took);
        self.lineup.seats[index].duration.observe(took);
        if let Err(error) = ended {
            self.meter.failed(error.word());
        }
        took
    }

    /// Whether targets have breakers of their own, which an only one has not.
    pub fn has_target_breakers(&self) -> bool {
        self.lineup.picker.breaker().is_some()
    }

    pub fn seat(&self, index: usize) -> &Seat {
        &self.lineup.seats[index]
    }

    fn in_flight(&self) -> u32 {
        self.lineup.picker.members().iter().map(|member| member.state.in_flight()).sum()
    }

    /// Whether a target answers well so much less often than the others that it is left out for it.
    pub(super) fn is_outlier(&self, target: &TargetState, policy: &PassiveCheck, now: u64) -> bool {
        let Some(deviations) = policy.max_deviation else { return false };
        let Some(own) = target.successes(policy, now) else { return false };
        let members = self.lineup.picker.members().iter();
        let all: Vec<f64> = members.filter_map(|member| member.state.successes(policy, now)).collect();
        balance::is_outlier(own, &all, deviations)
    }

    /// Whether one more target may be ejected for `cause`. A service's only target never is: the breaker is there for that. Those that
    /// can't be reached are no loss, so their share is not looked at.
    pub(super) fn may_eject(&self, cause: Cause, policy: &PassiveCheck) -> bool {
        let members = self.lineup.picker.members();
        if members.len() < 2 {
            return false;
        }
        let ejected = members.iter().filter(|member| member.state.standing() == Standing::Ejected).count();
        cause == Cause::Unreached || ejected == 0 || (ejected + 1) * 100 <= members.len() * policy.max_ejected as usize
    }
}

/// Whether no connection could be made: nothing was sent.
pub fn is_unreached(error: &UpstreamError) -> bool {
    matches!(error.phase, Phase::Resolve | Phase::Connect)
}

/// A try that waits for a connection.
struct Pending<'b>(&'b AtomicU32);

impl<'b> Pending<'b> {
    /// None when as many wait as may.
    fn begin(pending: &'b AtomicU32, most: u32) -> Option<Pending<'b>> {
        let begun = pending.fetch_update(Relaxed, Relaxed, |now| (now < most).then_some(now + 1));
        begun.ok().map(|_| Pending(pending))
    }
}

impl Drop for Pending<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}
