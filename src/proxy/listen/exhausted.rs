//! Out of file descriptors, or of the kernel's memory: said once a second and not once an attempt.
//!
//! Accepting fails at once as long as connections wait, so whoever accepts also pauses: the queue is the kernel's and
//! loses nothing meanwhile. Shared by all workers, since the shortage is the process's.

use std::{
    io,
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

/// How long accepting rests; short beside what clients wait, long beside what an attempt costs.
pub const PAUSE: Duration = Duration::from_millis(50);

/// Milliseconds between two lines.
const INTERVAL: u64 = 1000;

pub struct Exhausted {
    began: Instant,
    /// When the next line may be written, in milliseconds since `began`.
    next: AtomicU64,
    attempts: AtomicU64,
    /// Those of them that a line has told.
    told: AtomicU64,
}

impl Default for Exhausted {
    fn default() -> Exhausted {
        Exhausted {
            began: Instant::now(),
            next: AtomicU64::new(0),
            attempts: AtomicU64::new(0),
            told: AtomicU64::new(0),
        }
    }
}

impl Exhausted {
    /// Logs that a connection could not be accepted, with the number of failures since the last line.
    pub fn note(&self, error: &io::Error) {
        if let Some(attempts) = self.due(self.began.elapsed().as_millis() as u64) {
            tracing::warn!(%error, attempts, "can't accept connections: they wait until others end");
        }
    }

    /// The number of failures, this one included, if it is time to tell it.
    fn due(&self, now: u64) -> Option<u64> {
        let attempts = self.attempts.fetch_add(1, Ordering::Relaxed) + 1;
        let next = self.next.load(Ordering::Relaxed);
        let is_due = now >= next
            // One of the workers that fail at the same moment.
            && self.next.compare_exchange(next, now + INTERVAL, Ordering::Relaxed, Ordering::Relaxed).is_ok();
        is_due.then(|| attempts - self.told.swap(attempts, Ordering::Relaxed).min(attempts))
    }

    /// How often a connection could not be accepted since the start.
    pub fn attempts(&self) -> u64 {
        self.attempts.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_a_second_with_all_attempts_counted() {
        let exhausted = Exhausted::default();
        let said: Vec<_> = [0, 10, 999, 1000, 1001, 5000].map(|now| exhausted.due(now)).into();
        assert_eq!(said, [Some(1), None, None, Some(3), None, Some(2)]);
    }
}
