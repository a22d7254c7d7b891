//! How many of a target's requests failed lately: two halves of a window, each one word, so that counting is one addition.
//!
//! The rate is over the half that runs and the one before, that is over half a window to a whole one. Coarser than the breaker's ten
//! buckets, but there is one for each target.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

/// Of a word: 16 bits of epoch, 24 of failures, 24 of requests.
const REQUEST: u64 = 1;
const FAILURE: u64 = 1 << 24;
const EPOCH: u32 = 48;
const COUNT: u64 = (1 << 24) - 1;

#[derive(Default)]
pub struct Rate([AtomicU64; 2]);

impl Rate {
    /// Counts a request that ended at `now`, in milliseconds.
    pub fn count(&self, failed: bool, window: Duration, now: u64) {
        let one = if failed { REQUEST | FAILURE } else { REQUEST };
        let epoch = epoch(window, now);
        let half = &self.0[(epoch % 2) as usize];
        let mark = (epoch & 0xFFFF) << EPOCH;
        let word = half.load(Relaxed);
        // Whoever comes first in a half begins it anew; one that is late by a half counts for the next.
        if word >> EPOCH == mark >> EPOCH || half.compare_exchange(word, mark | one, Relaxed, Relaxed).is_err() {
            half.fetch_add(one, Relaxed);
        }
    }

    /// Whether at least `rate` percent of at least `least` requests failed.
    pub fn reached(&self, rate: u32, least: u32, window: Duration, now: u64) -> bool {
        let (requests, failures) = self.counts(window, now);
        requests >= u64::from(least) && failures * 100 >= requests * u64::from(rate)
    }

    /// The share of at least `least` requests that did not fail.
    pub fn successes(&self, least: u32, window: Duration, now: u64) -> Option<f64> {
        let (requests, failures) = self.counts(window, now);
        (requests >= u64::from(least)).then(|| 1.0 - failures as f64 / requests as f64)
    }

    fn counts(&self, window: Duration, now: u64) -> (u64, u64) {
        let epoch = epoch(window, now);
        let (mut requests, mut failures) = (0, 0);
        for half in &self.0 {
            let word = half.load(Relaxed);
            if epoch.wrapping_sub(word >> EPOCH) & 0xFFFF < 2 {
                requests += word & COUNT;
                failures += (word >> 24) & COUNT;
            }
        }
        (requests, failures)
    }

    pub fn clear(&self) {
        self.0.iter().for_each(|half| half.store(0, Relaxed));
    }
}

/// Envoy's `success_rate_minimum_hosts`: of fewer, none is unlike the others.
const LEAST_TARGETS: usize = 5;

/// Where all answer alike the deviation is next to nothing, and one request more or less that failed would be far outside of it.
const LEAST_DISTANCE: f64 = 0.05;

/// Whether a share lies more than so many standard deviations, in thousandths, below the mean of all.
pub fn is_outlier(own: f64, all: &[f64], deviations: u32) -> bool {
    let count = all.len() as f64;
    let mean = all.iter().sum::<f64>() / count;
    let deviation = (all.iter().map(|share| (share - mean).powi(2)).sum::<f64>() / count).sqrt();
    let distance = (deviation * f64::from(deviations) / 1_000.0).max(LEAST_DISTANCE);
    all.len() >= LEAST_TARGETS && own < mean - distance
}

fn epoch(window: Duration, now: u64) -> u64 {
    let half = u64::try_from(window.as_millis() / 2).unwrap_or(u64::MAX).max(1);
    now / half
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_of_five_that_is_far_below_the_others_is_an_outlier() {
        for (all, expected) in [
            (&[1.0, 1.0, 1.0, 1.0, 0.7][..], true),
            (&[1.0, 1.0, 1.0, 0.7], false),
            (&[0.7, 0.7, 0.7, 0.7, 0.7], false),
            (&[1.0, 1.0, 1.0, 1.0, 0.99], false),
            (&[0.9, 0.8, 1.0, 0.85, 0.75], false),
        ] {
            assert_eq!(is_outlier(all[all.len() - 1], all, 1_900), expected, "{all:?}");
        }
    }

    #[test]
    fn the_rate_is_over_the_window_and_needs_enough_requests() {
        let window = Duration::from_secs(10);
        for (steps, at, expected) in [
            (&[(0, "xx..")][..], 0, true),
            (&[(0, "xx...")], 0, false),
            (&[(0, "xx.")], 0, false),
            (&[(0, "xx"), (5_000, "..")], 9_999, true),
            (&[(0, "xx"), (5_000, "..")], 10_000, false),
            (&[(0, "...."), (10_000, "xxxx")], 10_000, true),
            (&[(0, "xxxx")], 20_000, false),
        ] {
            let rate = Rate::default();
            for (now, requests) in steps {
                requests.chars().for_each(|request| rate.count(request == 'x', window, *now));
            }
            assert_eq!(rate.reached(50, 4, window, at), expected, "{steps:?} at {at}");
        }
    }
}
