//! The arithmetic of the three limits, on plain numbers: no clock, no lock, no store. The Redis scripts do the same.
//!
//! - **Log** (sliding windows up to [`EXACT_UP_TO`]): the time of each accepted request is kept; one passes if and only if
//!   fewer than `limit` were accepted in the last `window`. Exact, at 8 bytes a request.
//! - **Counters** (above): this fixed window and the one before it, weighted by how much of it the sliding window still
//!   covers (<https://blog.cloudflare.com/counting-things-a-lot-of-different-things/>). Never more than `limit` in a fixed
//!   window; a burst across a boundary can reach, but not pass, twice the limit in a sliding one.
//! - **Bucket**: tokens as a fraction, filled by the time that has passed.
//!
//! Refused requests are counted by none: a client that keeps knocking gets in again as soon as one that waits.

use std::collections::VecDeque;
use std::time::Duration;

use super::bounded::Resident;
use super::limit::{Decision, EXACT_UP_TO, Rule};

/// What is kept for one key. All times in microseconds.
pub(super) struct State {
    model: Model,
    /// When this state says no more than a fresh one.
    expires_at: u64,
    at_limit: bool,
}

enum Model {
    Log(VecDeque<u64>),
    Counters(Counters),
    Bucket(Bucket),
}

impl State {
    pub fn new(rule: &Rule, now: u64) -> Self {
        let model = match *rule {
            Rule::SlidingWindow { limit, .. } if limit <= EXACT_UP_TO => Model::Log(VecDeque::new()),
            Rule::SlidingWindow { .. } => Model::Counters(Counters::default()),
            Rule::TokenBucket { burst, .. } => Model::Bucket(Bucket { tokens: burst as f64, at: now }),
        };
        State { model, expires_at: now, at_limit: false }
    }

    /// `rule` must have the tag of the rule that made the state; other limits of the same tag are fine.
    pub fn check(&mut self, rule: &Rule, now: u64, cost: u64) -> Decision {
        let decision;
        (decision, self.expires_at) = match (&mut self.model, *rule) {
            (Model::Log(log), Rule::SlidingWindow { limit, window }) => {
                let decision = check_log(log, now, limit, window, cost);
                (decision, log.back().map_or(now, |last| last + window))
            }
            (Model::Counters(counters), Rule::SlidingWindow { limit, window }) => {
                counters.roll(now / window);
                let decision = counters.check(now % window, limit, window, cost);
                (decision, counters.expires_at(window, now))
            }
            (Model::Bucket(bucket), Rule::TokenBucket { rate, burst }) => {
                let decision = bucket.check(now, rate, burst, cost);
                (decision, bucket.full_at(rate, burst))
            }
            // A rule's tag is part of the key, so a state never meets a rule of another model; starting afresh is the
            // harmless answer if that ever changes.
            _ => {
                *self = State::new(rule, now);
                return self.check(rule, now, cost);
            }
        };
        self.at_limit = decision.remaining == 0;
        decision
    }
}

impl Resident for State {
    fn expires_at(&self) -> u64 {
        self.expires_at
    }

    fn heap(&self) -> usize {
        match &self.model {
            Model::Log(log) => log.capacity() * size_of::<u64>(),
            Model::Counters(_) | Model::Bucket(_) => 0,
        }
    }

    /// SECURITY: keys at their limit go last, or whoever is limited could get free by inventing keys until their own is
    /// forgotten. Among equals the one that expires first goes first.
    fn rank(&self) -> u64 {
        const AT_LIMIT: u64 = 1 << 63;
        self.expires_at | if self.at_limit { AT_LIMIT } else { 0 }
    }
}

fn check_log(log: &mut VecDeque<u64>, now: u64, limit: u64, window: u64, cost: u64) -> Decision {
    while log.front().is_some_and(|oldest| oldest + window <= now) {
        log.pop_front();
    }
    let used = log.len() as u64;
    let need = cost.max(1);
    let allowed = used + need <= limit;
    if allowed {
        log.extend((0..cost).map(|_| now));
    }
    let until = |index: u64| log.get(index as usize).map(|at| at + window - now);
    let retry_after = match (used + need).checked_sub(limit + 1) {
        None => 0,
        // With every entry gone it still doesn't fit: `need` is over the limit.
        Some(leaving) => until(leaving).unwrap_or(window),
    };
    Decision {
        allowed,
        limit,
        remaining: limit.saturating_sub(log.len() as u64),
        reset_after: Duration::from_micros(until(0).unwrap_or(0)),
        retry_after: Duration::from_micros(retry_after),
    }
}

/// Requests accepted in the fixed window `index` and in the one before it.
#[derive(Clone, Copy, Default)]
pub(super) struct Counters {
    pub index: u64,
    pub current: u64,
    pub previous: u64,
}

impl Counters {
    pub fn roll(&mut self, index: u64) {
        // A `now` in an older window (another clock) counts into the newest one that was seen.
        match index.saturating_sub(self.index) {
            0 => return,
            1 => self.previous = self.current,
            _ => self.previous = 0,
        }
        (self.index, self.current) = (index, 0);
    }

    /// `elapsed` is the time since the current fixed window began.
    pub fn check(&mut self, elapsed: u64, limit: u64, window: u64, cost: u64) -> Decision {
        let need = cost.max(1);
        let allowed = self.used(elapsed, window) + need <= limit;
        if allowed {
            self.current += cost;
        }
        self.decision(allowed, elapsed, limit, window, need)
    }

    /// The decision that follows from counters that already include the request, if it was allowed.
    pub fn decision(&self, allowed: bool, elapsed: u64, limit: u64, window: u64, need: u64) -> Decision {
        let used = self.used(elapsed, window);
        let retry_after = match (allowed, limit.checked_sub(need)) {
            (true, _) => 0,
            (false, Some(target)) => self.time_until(target, elapsed, window),
            (false, None) => self.time_until(0, elapsed, window).max(window),
        };
        let reset_after = used.checked_sub(1).map_or(0, |target| self.time_until(target, elapsed, window));
        Decision {
            allowed,
            limit,
            remaining: limit.saturating_sub(used),
            reset_after: Duration::from_micros(reset_after),
            retry_after: Duration::from_micros(retry_after),
        }
    }

    /// The estimate, rounded up so that a fraction of a request is never given away.
    fn used(&self, elapsed: u64, window: u64) -> u64 {
        let covered = u128::from(window.saturating_sub(elapsed));
        let weighted = (u128::from(self.previous) * covered).div_ceil(u128::from(window));
        self.current + weighted as u64
    }

    /// How long until the estimate is at most `target`, when nothing is added.
    fn time_until(&self, target: u64, elapsed: u64, window: u64) -> u64 {
        match target.checked_sub(self.current) {
            Some(target) => decayed(self.previous, target, window).saturating_sub(elapsed),
            None => {
                let next_window = window.saturating_sub(elapsed);
                next_window + decayed(self.current, target, window)
            }
        }
    }

    fn expires_at(&self, window: u64, now: u64) -> u64 {
        if self.current > 0 {
            (self.index + 2) * window
        } else if self.previous > 0 {
            (self.index + 1) * window
        } else {
            now
        }
    }
}

/// The time within a fixed window at which a previous count of `count` weighs at most `target`.
fn decayed(count: u64, target: u64, window: u64) -> u64 {
    if count <= target {
        return 0;
    }
    let kept = u128::from(target) * u128::from(window) / u128::from(count);
    window - kept as u64
}

/// Tokens there were at a moment.
#[derive(Clone, Copy)]
pub(super) struct Bucket {
    pub tokens: f64,
    pub at: u64,
}

/// Filling adds rounding errors of about 1e-7 at the largest burst; without this much grace a client that waited exactly as
/// long as it was told would sometimes be refused.
pub(super) const GRACE: f64 = 1e-6;

impl Bucket {
    pub fn check(&mut self, now: u64, rate: f64, burst: u64, cost: u64) -> Decision {
        let passed = now.saturating_sub(self.at) as f64 / 1e6;
        self.tokens = (self.tokens + passed * rate).min(burst as f64);
        self.at = self.at.max(now);
        let allowed = self.tokens + GRACE >= cost.max(1) as f64;
        if allowed {
            self.tokens = (self.tokens - cost as f64).max(0.0);
        }
        self.decision(allowed, rate, burst, cost.max(1))
    }

    /// The decision that follows from a bucket that the request, if it was allowed, has already been taken from.
    pub fn decision(&self, allowed: bool, rate: f64, burst: u64, need: u64) -> Decision {
        let whole = (self.tokens + GRACE).floor();
        let full = burst as f64;
        let reset_after = if whole >= full { 0 } else { time_to_gain(whole + 1.0 - self.tokens, rate) };
        let retry_after = match allowed {
            true => 0,
            false if need > burst => time_to_gain(full, rate),
            false => time_to_gain(need as f64 - self.tokens, rate),
        };
        Decision {
            allowed,
            limit: burst,
            remaining: whole as u64,
            reset_after: Duration::from_micros(reset_after),
            retry_after: Duration::from_micros(retry_after),
        }
    }

    fn full_at(&self, rate: f64, burst: u64) -> u64 {
        let missing = burst as f64 - self.tokens;
        match missing > 0.0 {
            true => self.at.saturating_add(time_to_gain(missing, rate)),
            false => self.at,
        }
    }
}

/// Microseconds, rounded up.
fn time_to_gain(tokens: f64, rate: f64) -> u64 {
    (tokens / rate * 1e6).ceil() as u64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: u64 = 1_000_000;

    fn window(limit: u64, window: u64) -> Rule {
        Rule::SlidingWindow { limit, window }
    }

    fn micros(duration: Duration) -> u64 {
        duration.as_micros() as u64
    }

    /// Given requests as (time since the one before, cost), the times of the accepted ones and the refusals' decisions.
    fn run(rule: &Rule, requests: &[(u64, u64)]) -> Vec<(u64, u64, Decision)> {
        let mut now = 17 * SECOND;
        let mut state = State::new(rule, now);
        let mut answers = Vec::new();
        for &(pause, cost) in requests {
            now += pause;
            answers.push((now, cost, state.check(rule, now, cost)));
        }
        answers
    }

    /// The most accepted cost in any half-open interval of length `window`.
    fn densest(answers: &[(u64, u64, Decision)], window: u64) -> u64 {
        let accepted = answers.iter().filter(|(_, _, decision)| decision.allowed);
        let accepted: Vec<_> = accepted.map(|&(at, cost, _)| (at, cost)).collect();
        let within = |from: u64| {
            let inside = accepted.iter().filter(move |(at, _)| (from..from + window).contains(at));
            inside.map(|(_, cost)| cost).sum()
        };
        accepted.iter().map(|&(from, _)| within(from)).max().unwrap_or(0)
    }

    #[test]
    fn a_log_says_what_remains_and_when_it_grows() {
        let rule = window(2, 10 * SECOND);
        let answers = run(&rule, &[(0, 1), (3 * SECOND, 1), (SECOND, 1), (6 * SECOND, 1)]);
        let shown: Vec<_> = answers
            .iter()
            .map(|(_, _, d)| (d.allowed, d.remaining, d.reset_after.as_secs(), d.retry_after.as_secs()))
            .collect();
        assert_eq!(shown, [(true, 1, 10, 0), (true, 0, 7, 0), (false, 0, 6, 6), (true, 0, 3, 0)]);
    }

    #[test]
    fn a_cost_of_zero_looks_without_counting() {
        let rule = window(1, SECOND);
        let answers = run(&rule, &[(0, 0), (0, 0), (0, 1), (0, 0), (SECOND, 0)]);
        let allowed: Vec<_> = answers.iter().map(|(_, _, d)| d.allowed).collect();
        assert_eq!(allowed, [true, true, true, false, true]);
    }

    #[test]
    fn a_lowered_limit_counts_what_was_accepted_before() {
        let mut state = State::new(&window(5, SECOND), 0);
        for _ in 0..5 {
            assert!(state.check(&window(5, SECOND), 0, 1).allowed);
        }
        let decision = state.check(&window(2, SECOND), SECOND - 1, 1);
        assert!(!decision.allowed);
        assert_eq!((decision.remaining, decision.retry_after), (0, Duration::from_micros(1)));
    }

    #[test]
    fn a_cost_over_the_limit_never_passes_and_says_a_full_window() {
        for limit in [3, 3000] {
            let answers = run(&window(limit, SECOND), &[(0, limit + 1)]);
            assert!(!answers[0].2.allowed);
            assert_eq!(answers[0].2.retry_after, Duration::from_secs(1));
            assert_eq!(answers[0].2.remaining, limit);
        }
        let bucket = Rule::TokenBucket { rate: 2.0, burst: 4 };
        let answers = run(&bucket, &[(0, 5)]);
        assert!(!answers[0].2.allowed);
        assert_eq!(answers[0].2.retry_after, Duration::from_secs(2));
    }

    #[test]
    fn a_limit_of_zero_lets_nothing_through() {
        let answers = run(&window(0, SECOND), &[(0, 1), (9 * SECOND, 1)]);
        assert!(answers.iter().all(|(_, _, d)| !d.allowed && d.retry_after == Duration::from_secs(1)));
    }

    #[test]
    fn two_counters_weigh_the_window_before() {
        // 8 in the last window, a quarter of this one gone: 6 of them still weigh.
        let counters = Counters { index: 5, current: 1, previous: 8 };
        let decision = counters.decision(true, 250, 10, 1000, 1);
        assert_eq!(decision.remaining, 3);
        // 5 of 8 weigh from 375 on.
        assert_eq!(decision.reset_after, Duration::from_micros(125));
    }

    #[test]
    fn a_bucket_refills_by_fractions() {
        let bucket = Rule::TokenBucket { rate: 0.5, burst: 2 };
        let answers = run(&bucket, &[(0, 2), (SECOND, 1), (SECOND, 1)]);
        let shown: Vec<_> = answers.iter().map(|(_, _, d)| (d.allowed, d.remaining, d.retry_after)).collect();
        assert_eq!(shown, [(true, 0, Duration::ZERO), (false, 0, Duration::from_secs(1)), (true, 0, Duration::ZERO)]);
    }

    fn requests(longest_pause: u64, dearest: u64) -> impl Strategy<Value = Vec<(u64, u64)>> {
        let pause = prop_oneof![Just(0), 0..=longest_pause];
        prop::collection::vec((pause, 1..=dearest), 1..200)
    }

    /// Whatever was refused passes after exactly `retry_after`, and not (for the exact log) a microsecond earlier.
    fn retry_is_right(rule: &Rule, requests: &[(u64, u64)], exact: bool) -> Result<(), TestCaseError> {
        let mut now = 3 * SECOND;
        let mut state = State::new(rule, now);
        for &(pause, cost) in requests {
            now += pause;
            let decision = state.check(rule, now, cost);
            prop_assert!(decision.allowed || decision.reset_after <= decision.retry_after);
            prop_assert_eq!(decision.allowed, decision.retry_after.is_zero());
            if !decision.allowed && cost <= rule.limit() {
                let wait = micros(decision.retry_after);
                if exact {
                    prop_assert!(!state.check(rule, now + wait - 1, cost).allowed);
                }
                now += wait;
                let again = state.check(rule, now, cost);
                prop_assert!(again.allowed, "{:?} then {:?}", decision, again);
            }
        }
        Ok(())
    }

    /// `remaining` more pass at once, not one more than that; `reset_after` later, one more does.
    fn remaining_is_right(rule: &Rule, requests: &[(u64, u64)]) -> Result<(), TestCaseError> {
        let (mut state, mut now) = (State::new(rule, SECOND), SECOND);
        let mut last = None;
        for &(pause, cost) in requests {
            now += pause;
            last = Some(state.check(rule, now, cost));
        }
        let last = last.expect("there is a request");
        if last.remaining > 0 {
            prop_assert!(state.check(rule, now, last.remaining).allowed);
        }
        let over = state.check(rule, now, 1);
        prop_assert!(!over.allowed);
        let later = now + micros(over.reset_after);
        prop_assert!(state.check(rule, later, 0).remaining >= 1);
        Ok(())
    }

    proptest! {
        #[test]
        fn a_log_never_passes_more_than_the_limit_in_any_window(
            limit in 1..20_u64, length in 1..5000_u64, requests in requests(2000, 3),
        ) {
            let answers = run(&window(limit, length), &requests);
            prop_assert!(densest(&answers, length) <= limit);
        }

        #[test]
        fn a_log_refuses_only_what_would_pass_the_limit(
            limit in 1..20_u64, length in 1..5000_u64, requests in requests(2000, 3),
        ) {
            let answers = run(&window(limit, length), &requests);
            for (i, (now, cost, decision)) in answers.iter().enumerate() {
                let before = answers[..i].iter();
                let used: u64 = before
                    .filter(|(at, _, d)| d.allowed && at + length > *now)
                    .map(|(_, cost, _)| cost)
                    .sum();
                prop_assert_eq!(decision.allowed, used + cost <= limit);
            }
        }

        #[test]
        fn two_counters_keep_their_bounds(
            limit in 1001..3000_u64, length in 1..5000_u64, requests in requests(2000, 700),
        ) {
            let answers = run(&window(limit, length), &requests);
            prop_assert!(densest(&answers, length) < 2 * limit);
            for (at, _, _) in &answers {
                let same = answers.iter().filter(|(other, _, d)| d.allowed && other / length == at / length);
                prop_assert!(same.map(|(_, cost, _)| cost).sum::<u64>() <= limit);
            }
        }

        #[test]
        fn a_bucket_passes_no_more_than_burst_and_rate(
            rate in 0.1..5000.0_f64, burst in 1..50_u64, requests in requests(100_000, 3),
        ) {
            let answers = run(&Rule::TokenBucket { rate, burst }, &requests);
            let (first, last) = (answers[0].0, answers[answers.len() - 1].0);
            let passed = answers.iter().filter(|(_, _, d)| d.allowed).map(|(_, cost, _)| cost).sum::<u64>();
            prop_assert!(passed as f64 <= burst as f64 + (last - first) as f64 / 1e6 * rate + 1e-3);
        }

        #[test]
        fn waiting_as_long_as_told_is_enough(
            limit in 1..20_u64, many in 1001..5000_u64, length in 1..5000_u64,
            rate in 0.001..1e7_f64, few in requests(2000, 3), dear in requests(2000, 900),
        ) {
            retry_is_right(&window(limit, length), &few, true)?;
            retry_is_right(&window(many, length), &dear, false)?;
            retry_is_right(&Rule::TokenBucket { rate, burst: many }, &dear, false)?;
        }

        #[test]
        fn what_remains_is_what_passes(
            limit in 1..20_u64, many in 1001..5000_u64, length in 1..5000_u64,
            rate in 0.001..1e5_f64, few in requests(2000, 3), dear in requests(2000, 900),
        ) {
            remaining_is_right(&window(limit, length), &few)?;
            remaining_is_right(&window(many, length), &dear)?;
            remaining_is_right(&Rule::TokenBucket { rate, burst: many }, &dear)?;
        }
    }
}
