//! How long a retry waits, and how many there may be at once.
//!
//! Envoy's rules: full jitter below (2^N − 1) · 25 ms, at most 250 ms; retries in flight at most a fifth of the requests in
//! flight, but at least three, so that retrying never multiplies the load on a service that is in trouble. A `Retry-After` is
//! waited for while a client would wait for it, too.

use http::{HeaderMap, header};
use std::{
    sync::atomic::{AtomicU32, Ordering::Relaxed},
    time::{Duration, SystemTime},
};

const BASE: u64 = 25_000;
const LONGEST: u64 = 250_000;
const LEAST: u32 = 3;

/// The wait before retry `nth` (from 1), by a random number.
pub fn wait(nth: u32, random: u64) -> Duration {
    let most = ((1 << nth.min(10)) - 1) * BASE;
    Duration::from_micros(random % (most.min(LONGEST) + 1))
}

/// The longest `Retry-After` that is waited for: a client that is told can do something better meanwhile.
pub const MOST_PATIENCE: Duration = Duration::from_secs(5);

/// How long an answer asks to wait: seconds or a date (RFC 9110 §10.2.3).
pub fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = httpdate::parse_http_date(text).ok()?;
    Some(date.duration_since(SystemTime::now()).unwrap_or_default())
}

/// A retry in flight.
pub struct Retry<'b>(&'b AtomicU32);

impl<'b> Retry<'b> {
    /// None when the budget is spent.
    pub fn begin(retrying: &'b AtomicU32, in_flight: u32) -> Option<Retry<'b>> {
        let most = LEAST.max(in_flight / 5);
        let begun = retrying.fetch_update(Relaxed, Relaxed, |now| (now < most).then_some(now + 1));
        begun.ok().map(|_| Retry(retrying))
    }
}

impl Drop for Retry<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_and_end_at_a_quarter_of_a_second() {
        let longest = [1, 2, 3, 4, 90].map(|nth| {
            let most = (0..400_000).step_by(1_000).map(|random| wait(nth, random)).max();
            most.unwrap_or_default().as_millis()
        });
        assert_eq!(longest, [25, 75, 175, 250, 250]);
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let asked = |text: &str| {
            let value = header::HeaderValue::from_str(text).expect("a value");
            retry_after(&HeaderMap::from_iter([(header::RETRY_AFTER, value)])).map(|wait| wait.as_secs())
        };
        let soon = httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(90));
        let past = "Sun, 06 Nov 1994 08:49:37 GMT";
        assert_eq!([asked("7"), asked(past), asked("soon"), asked("-1")], [Some(7), Some(0), None, None]);
        assert!(asked(&soon).is_some_and(|wait| (88..=90).contains(&wait)), "{soon}");
    }

    #[test]
    fn the_budget_is_a_fifth_but_three() {
        let retrying = AtomicU32::new(0);
        let count = |in_flight| {
            let all: Vec<_> = std::iter::from_fn(|| Retry::begin(&retrying, in_flight)).collect();
            all.len()
        };
        assert_eq!([count(0), count(15), count(100)], [3, 3, 20]);
        assert_eq!(retrying.load(Relaxed), 0);
    }
}
