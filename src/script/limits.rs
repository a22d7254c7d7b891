//! How much a hook may use.
//!
//! A [`Budget`] follows one hook call over all its slices: it counts CPU time only while the script runs, and remembers a limit that was hit, so
//! that the engine can raise it again at every step: a script that catches the first error does not survive the next.
//! The engines ask it from their interrupts; it knows nothing of them.

use super::error::Limit;
use std::{
    cell::Cell,
    time::{Duration, Instant},
};

/// A script runs this long before other exchanges get their turn.
pub const SLICE: Duration = Duration::from_millis(1);
/// A script that can't give way where it is (inside a sort callback, say) is stopped after this.
pub const STUCK: Duration = Duration::from_millis(10);

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// CPU time of one hook call.
    pub cpu: Duration,
    /// Bytes that one VM may hold.
    pub memory: usize,
    /// Depth of calls.
    pub depth: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { cpu: Duration::from_millis(50), memory: 64 << 20, depth: 64 }
    }
}

/// What an interrupt should do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Go,
    /// Let other exchanges run; if that is not possible here, go on until [`STUCK`].
    Yield,
    Stop(Limit),
}

#[derive(Debug)]
pub struct Budget {
    cpu: Duration,
    deadline: Instant,
    used: Cell<Duration>,
    slice_start: Cell<Instant>,
    hit: Cell<Option<Limit>>,
}

impl Budget {
    pub fn new(limits: &Limits, deadline: Instant) -> Budget {
        Budget {
            cpu: limits.cpu,
            deadline,
            used: Cell::default(),
            slice_start: Cell::new(Instant::now()),
            hit: Cell::new(None),
        }
    }

    /// The script is about to run.
    pub fn enter(&self) {
        self.slice_start.set(Instant::now());
    }

    /// The script gave way or waits.
    pub fn leave(&self) {
        self.used.set(self.used.get() + self.slice_start.get().elapsed());
    }

    pub fn deadline(&self) -> Instant {
        self.deadline
    }

    pub fn hit(&self) -> Option<Limit> {
        self.hit.get()
    }

    /// From now on the script is stopped at every step.
    pub fn stop(&self, limit: Limit) {
        self.hit.set(Some(limit));
    }

    /// `can_yield`: whether the script can give way where it is.
    pub fn check(&self, can_yield: bool) -> Verdict {
        if let Some(limit) = self.hit.get() {
            return Verdict::Stop(limit);
        }
        let now = Instant::now();
        let slice = now.saturating_duration_since(self.slice_start.get());
        let limit = if self.used.get() + slice >= self.cpu || (!can_yield && slice >= STUCK) {
            Limit::Cpu
        } else if now >= self.deadline {
            Limit::Wall
        } else if slice >= SLICE && can_yield {
            return Verdict::Yield;
        } else {
            return Verdict::Go;
        };
        self.stop(limit);
        Verdict::Stop(limit)
    }
}
