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
    unsaid: AtomicU64,
}

impl Default for Exhausted {
    fn default() -> Exhausted {
        Exhausted { began: Instant::now(), next: AtomicU64::new(0), unsaid: AtomicU64::new(0) }
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
        let attempts = self.unsaid.fetch_add(1, Ordering::Relaxed) + 1;
        let next = self.next.load(Ordering::Relaxed);
        let is_due = now >= next
            // One of the workers that fail at the same moment.
            && self.next.compare_exchange(next, now + INTERVAL, Ordering::Relaxed, Ordering::Relaxed).is_ok();
        is_due.then(|| {
            self.unsaid.fetch_sub(attempts, Ordering::Relaxed);
            attempts
        })
    }
}

/// Whether it passes when something is closed: EMFILE, ENFILE, ENOBUFS, ENOMEM (accept(2)).
pub fn is_shortage(error: &io::Error) -> bool {
    use rustix::io::Errno;
    error.raw_os_error().is_some_and(|code| {
        let errno = Errno::from_raw_os_error(code);
        [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM].contains(&errno)
    })
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

    #[test]
    fn a_connection_that_was_reset_is_no_shortage() {
        assert!(is_shortage(&rustix::io::Errno::MFILE.into()));
        assert!(!is_shortage(&rustix::io::Errno::CONNABORTED.into()));
    }
}
