//! Choosing a target: in turns, the less busy of two, or by a key; never one that is down while another is up.
//!
//! Smooth weighted round robin (nginx): over a cycle each is chosen by its weight, spread evenly; each worker counts for itself.
//! Power of two choices (Mitzenmacher 2001) on requests in flight for the weight. Rendezvous hashing with weights (Wang 2014): when a target
//! goes, only its own keys move. Backups wait until no other is up, or the others have failed this request. There is no panic mode: none left means none.

use super::{Clock, Standing, TargetState, mix};
use crate::config::{Algorithm, CircuitBreaker};
use std::{cell::Cell, sync::Arc, time::Duration};

/// Weights are scaled by this while some begin slowly.
const SCALE: i64 = 1_000;
/// The least share, in percent, of one that has just come back: with none it would never warm up (Envoy's default).
const LEAST_SHARE: u64 = 10;

pub struct Picker {
    algorithm: Algorithm,
    /// In milliseconds; 0: off.
    slow_start: u64,
    /// Of targets, where they have breakers.
    breaker: Option<CircuitBreaker>,
    clock: Clock,
    members: Vec<Member>,
    random: Cell<u64>,
}

/// A target as one worker's generation sees it.
pub struct Member {
    pub state: Arc<TargetState>,
    pub weight: i64,
    pub backup: bool,
    /// Names it in hashes.
    id: u64,
    current: Cell<i64>,
}

impl Member {
    pub fn new(state: Arc<TargetState>, address: &str, weight: u32, backup: bool) -> Member {
        let id = super::hash(address.as_bytes());
        Member { state, weight: i64::from(weight), backup, id, current: Cell::new(0) }
    }
}

impl Picker {
    pub fn new(algorithm: Algorithm, slow_start: Option<Duration>, clock: Clock, members: Vec<Member>) -> Picker {
        let slow_start = slow_start.map_or(0, |time| time.as_millis() as u64);
        let random = Cell::new(members.iter().fold(clock.now(), |seed, member| mix(seed ^ member.id)));
        Picker { algorithm, slow_start, breaker: None, clock, members, random }
    }

    /// Leaves out targets whose breaker is open. A service's only target is never left out: its own breaker is there for that.
    pub fn with_breaker(mut self, policy: Option<CircuitBreaker>) -> Picker {
        self.breaker = policy.filter(|_| self.members.len() > 1);
        self
    }

    pub fn breaker(&self) -> Option<&CircuitBreaker> {
        self.breaker.as_ref()
    }

    pub fn members(&self) -> &[Member] {
        &self.members
    }

    pub fn algorithm(&self) -> &Algorithm {
        &self.algorithm
    }

    /// The next target, one that is not in `tried` if there is one; `None` when all are down. `key`: what is hashed.
    pub fn pick(&self, tried: &[usize], key: Option<u64>) -> Option<usize> {
        if let [only] = &self.members[..] {
            return (only.state.standing() == Standing::Up || self.is_usable(only)).then_some(0);
        }
        let fresh = |backup| move |index: usize, member: &Member| member.backup == backup && !tried.contains(&index);
        let found = self.choose(key, fresh(false)).or_else(|| self.choose(key, fresh(true)));
        if tried.is_empty() {
            return found;
        }
        let any = |backup| move |_: usize, member: &Member| member.backup == backup;
        found.or_else(|| self.choose(key, any(false))).or_else(|| self.choose(key, any(true)))
    }

    fn choose(&self, key: Option<u64>, wanted: impl Fn(usize, &Member) -> bool) -> Option<usize> {
        let usable = || {
            let all = self.members.iter().enumerate();
            all.filter(|(index, member)| member.weight > 0 && wanted(*index, member) && self.is_usable(member))
        };
        match (&self.algorithm, key) {
            (Algorithm::LeastRequests, _) => self.less_busy(usable),
            (Algorithm::Hash(_), Some(key)) => {
                let scored = usable().map(|(index, member)| (index, score(key ^ member.id, self.weight(member))));
                scored.max_by(|a, b| a.1.total_cmp(&b.1)).map(|(index, _)| index)
            }
            (Algorithm::RoundRobin | Algorithm::Hash(_), _) => self.next_in_turn(usable()),
        }
    }

    fn next_in_turn<'m>(&self, usable: impl Iterator<Item = (usize, &'m Member)>) -> Option<usize> {
        let mut total = 0;
        let mut best: Option<(usize, &Member)> = None;
        for (index, member) in usable {
            let weight = self.weight(member);
            total += weight;
            member.current.set(member.current.get() + weight);
            if best.is_none_or(|(_, best)| member.current.get() > best.current.get()) {
                best = Some((index, member));
            }
        }
        let (index, chosen) = best?;
        chosen.current.set(chosen.current.get() - total);
        Some(index)
    }

    fn less_busy<'m, I: Iterator<Item = (usize, &'m Member)>>(&self, usable: impl Fn() -> I) -> Option<usize> {
        let count = usable().count() as u64;
        let first = if count > 1 { self.random() % count } else { 0 };
        let second = if count > 1 { (first + 1 + self.random() % (count - 1)) % count } else { 0 };
        let (a, b) = (usable().nth(first as usize)?, usable().nth(second as usize)?);
        // (n₁ + 1) / w₁ against (n₂ + 1) / w₂ without a division.
        let load = |member: &Member, other: &Member| (i64::from(member.state.in_flight()) + 1) * self.weight(other);
        Some(if load(b.1, a.1) < load(a.1, b.1) { b.0 } else { a.0 })
    }

    /// The weight, less while it begins slowly.
    fn weight(&self, member: &Member) -> i64 {
        if self.slow_start == 0 {
            return member.weight;
        }
        let since = member.state.up_since();
        let age = if since == 0 { self.slow_start } else { self.clock.now().saturating_sub(since) };
        let share = (age.saturating_mul(100) / self.slow_start).clamp(LEAST_SHARE, 100);
        (member.weight * SCALE * share as i64 / 100).max(1)
    }

    fn is_usable(&self, member: &Member) -> bool {
        let lets = |policy| member.state.breaker.lets(policy, || self.clock.now());
        self.breaker.as_ref().is_none_or(lets) && self.is_up(member)
    }

    fn is_up(&self, member: &Member) -> bool {
        match member.state.standing() {
            Standing::Up => true,
            Standing::Down => false,
            Standing::Ejected => member.state.awaits_trial(self.clock.now()),
        }
    }

    pub fn random(&self) -> u64 {
        let next = self.random.get().wrapping_add(0x9E37_79B9_7F4A_7C15);
        self.random.set(next);
        mix(next)
    }
}

/// Of a target for a key: the highest of −w / ln h, with h in (0, 1).
fn score(hashed: u64, weight: i64) -> f64 {
    let unit = ((mix(hashed) >> 11) as f64 + 0.5) / (1u64 << 53) as f64;
    -(weight as f64) / unit.ln()
}

#[cfg(test)]
mod tests {
    use super::super::Hand;
    use super::*;
    use crate::config::HashOn;

    fn picker(algorithm: Algorithm, weights: &[u32], backups: usize) -> Picker {
        let last = weights.len() - backups;
        let member =
            |(n, weight): (usize, &u32)| Member::new(Arc::default(), &format!("10.0.0.{n}:80"), *weight, n >= last);
        Picker::new(algorithm, None, Clock::start(), weights.iter().enumerate().map(member).collect())
    }

    fn chosen(picker: &Picker, count: usize) -> Vec<usize> {
        (0..count).filter_map(|_| picker.pick(&[], None)).collect()
    }

    #[test]
    fn weights_are_kept_and_spread() {
        assert_eq!(chosen(&picker(Algorithm::RoundRobin, &[5, 1, 1, 0], 0), 7), [0, 0, 1, 0, 2, 0, 0]);
    }

    #[test]
    fn a_retry_goes_to_another_target_first() {
        let picker = picker(Algorithm::RoundRobin, &[1, 1], 0);
        let first = picker.pick(&[], None).expect("a target");
        assert_eq!(picker.pick(&[first], None), Some(1 - first));
        assert!(picker.pick(&[0, 1], None).is_some());
    }

    #[test]
    fn what_is_down_is_not_chosen_and_backups_wait() {
        let picker = picker(Algorithm::RoundRobin, &[1, 1, 1], 1);
        assert_eq!(chosen(&picker, 4), [0, 1, 0, 1]);
        picker.members[0].state.set(Hand::Down);
        assert_eq!(chosen(&picker, 3), [1, 1, 1]);
        assert_eq!([picker.pick(&[1], None), picker.pick(&[1, 2], None)], [Some(2), Some(1)]);
        picker.members[1].state.set(Hand::Down);
        assert_eq!(chosen(&picker, 2), [2, 2]);
        picker.members[2].state.set(Hand::Down);
        assert_eq!(picker.pick(&[], None), None);
    }

    #[test]
    fn one_that_has_just_come_back_gets_less_than_its_share() {
        let now = Clock::start();
        let member =
            |n: usize, since| Member::new(Arc::new(TargetState::new(since)), &format!("10.0.0.{n}:80"), 1, false);
        let slow_start = Some(Duration::from_secs(3_600));
        let back = now.now().max(1);
        let picker = Picker::new(Algorithm::RoundRobin, slow_start, now, vec![member(0, 0), member(1, back)]);
        let of_second = chosen(&picker, 110).iter().filter(|index| **index == 1).count();
        assert_eq!(of_second, 10, "a tenth of the other's weight");
    }

    #[test]
    fn the_less_busy_for_its_weight_is_chosen() {
        let picker = picker(Algorithm::LeastRequests, &[1, 3], 0);
        // 1/1 against 4/3, then 2/1 against 4/3.
        for _ in 0..3 {
            picker.members[1].state.begin();
        }
        assert_eq!(chosen(&picker, 2), [0, 0]);
        picker.members[0].state.begin();
        assert_eq!(chosen(&picker, 2), [1, 1]);
    }

    #[test]
    fn a_key_stays_and_only_the_keys_of_a_lost_target_move() {
        let picker = picker(Algorithm::Hash(HashOn::Ip), &[1, 1, 2], 0);
        let of = |key: u64| picker.pick(&[], Some(mix(key))).expect("a target");
        let before: Vec<usize> = (0..4_000).map(of).collect();
        let heavy = before.iter().filter(|index| **index == 2).count();
        assert!((1_850..2_150).contains(&heavy), "{heavy} of 4000 for half of the weight");
        picker.members[1].state.set(Hand::Down);
        let moved = (0..4_000).filter(|key| of(*key) != before[*key as usize]).count();
        assert_eq!(moved, before.iter().filter(|index| **index == 1).count());
    }
}
