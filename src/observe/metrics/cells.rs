//! What is counted in: counters, gauges, histograms, and requests by status. Plain atomics, without order between them.

use std::{
    sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed},
    time::Duration,
};

#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    pub fn increment(&self) {
        self.add(1);
    }

    pub fn add(&self, by: u64) {
        self.0.fetch_add(by, Relaxed);
    }

    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

#[derive(Debug, Default)]
pub struct Gauge(AtomicI64);

impl Gauge {
    pub fn add(&self, by: i64) {
        self.0.fetch_add(by, Relaxed);
    }

    pub fn set(&self, value: i64) {
        self.0.store(value, Relaxed);
    }

    pub fn get(&self) -> i64 {
        self.0.load(Relaxed)
    }
}

/// The upper bounds of durations, in microseconds, and as they are written in seconds. From half a millisecond, since a
/// gateway's own share is less, to ten seconds; the steps are those of Prometheus' client libraries.
pub const BOUNDS: [(u64, &str); 14] = [
    (500, "0.0005"),
    (1_000, "0.001"),
    (2_500, "0.0025"),
    (5_000, "0.005"),
    (10_000, "0.01"),
    (25_000, "0.025"),
    (50_000, "0.05"),
    (100_000, "0.1"),
    (250_000, "0.25"),
    (500_000, "0.5"),
    (1_000_000, "1.0"),
    (2_500_000, "2.5"),
    (5_000_000, "5.0"),
    (10_000_000, "10.0"),
];

/// Durations. Each is counted in one bucket only; the sums that the format wants are made when it is read.
#[derive(Debug, Default)]
pub struct Histogram {
    buckets: [Counter; BOUNDS.len() + 1],
    microseconds: Counter,
}

impl Histogram {
    pub fn observe(&self, duration: Duration) {
        let microseconds = duration.as_micros() as u64;
        self.buckets[BOUNDS.partition_point(|(bound, _)| *bound < microseconds)].increment();
        self.microseconds.add(microseconds);
    }

    /// How many lay in each bucket, without those below it.
    pub fn counts(&self) -> [u64; BOUNDS.len() + 1] {
        std::array::from_fn(|at| self.buckets[at].get())
    }

    pub fn seconds(&self) -> f64 {
        self.microseconds.get() as f64 / 1e6
    }
}

/// Codes that have a series of their own; any other counts as its class, so that no upstream can make series.
pub const CODES: [u16; 40] = [
    101, 200, 201, 202, 204, 206, 301, 302, 303, 304, 307, 308, 400, 401, 403, 404, 405, 406, 408, 409, 410, 411, 412,
    413, 414, 415, 417, 421, 422, 426, 428, 429, 431, 499, 500, 501, 502, 503, 504, 505,
];
const CLASSES: [&str; 6] = ["other", "1xx", "2xx", "3xx", "4xx", "5xx"];

#[derive(Debug)]
pub struct Statuses([Counter; CODES.len() + CLASSES.len()]);

impl Default for Statuses {
    fn default() -> Statuses {
        Statuses(std::array::from_fn(|_| Counter::default()))
    }
}

impl Statuses {
    pub fn count(&self, status: u16) {
        let at = CODES.binary_search(&status).unwrap_or_else(|_| {
            let class = usize::from(status / 100);
            CODES.len() + if class < CLASSES.len() { class } else { 0 }
        });
        self.0[at].increment();
    }

    /// Those that have been counted, with their label.
    pub fn counted(&self) -> impl Iterator<Item = (String, u64)> {
        let label = |at: usize| match CODES.get(at) {
            Some(code) => code.to_string(),
            None => CLASSES[at - CODES.len()].to_owned(),
        };
        self.0.iter().enumerate().filter(|(_, count)| count.get() > 0).map(move |(at, count)| (label(at), count.get()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_on_a_bound_is_within_it() {
        let histogram = Histogram::default();
        for microseconds in [0, 500, 501, 10_000_000, 10_000_001] {
            histogram.observe(Duration::from_micros(microseconds));
        }
        let counts = histogram.counts();
        assert_eq!((counts[0], counts[1], counts[13], counts[14]), (2, 1, 1, 1));
    }

    #[test]
    fn unusual_statuses_count_as_their_class() {
        let statuses = Statuses::default();
        for status in [200, 200, 299, 599, 999, 0] {
            statuses.count(status);
        }
        let counted: Vec<(String, u64)> = statuses.counted().collect();
        let expected = [("200", 2), ("other", 2), ("2xx", 1), ("5xx", 1)];
        assert_eq!(counted, expected.map(|(label, count)| (label.to_owned(), count)));
    }

    #[test]
    fn codes_are_in_order() {
        assert!(CODES.is_sorted());
    }
}
