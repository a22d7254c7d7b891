//! The time source of the embedded stores: one reading, in microseconds, that never goes back.
//!
//! Two implementations: the system's monotonic clock, and one that only moves when it is told to, for tests of the
//! gateway and of users' scripts. It says nothing about the time of day: tokens and dates take theirs elsewhere.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// A monotonic time source shared by all workers.
pub trait Clock: Send + Sync {
    /// Microseconds since some fixed moment of this process.
    fn now(&self) -> u64;
}

/// The operating system's monotonic clock.
pub struct SystemClock {
    start: Instant,
}

impl SystemClock {
    pub fn new() -> Self {
        SystemClock { start: Instant::now() }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        SystemClock::new()
    }
}

impl Clock for SystemClock {
    fn now(&self) -> u64 {
        micros(self.start.elapsed())
    }
}

/// A clock that stands still until [`ManualClock::advance`] moves it.
#[derive(Default)]
pub struct ManualClock {
    now: AtomicU64,
}

impl ManualClock {
    pub fn advance(&self, by: Duration) {
        self.now.fetch_add(micros(by), Ordering::Relaxed);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> u64 {
        self.now.load(Ordering::Relaxed)
    }
}

/// A duration in whole microseconds; half a million years and more become the largest number.
pub(super) fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
