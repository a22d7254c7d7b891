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

/// Time that a script has used for long enough to be looked at closely.
const SUSPECT: Duration = Duration::from_millis(3);

/// What one hook call has used.
///
/// Reading the clock is cheap, reading the thread's CPU time is a system call. So the clock counts at first, and only a script
/// that seems to be over its limit is measured in CPU time: on a busy machine a thread stands still for
/// milliseconds, and no script shall be stopped for that.
#[derive(Debug)]
pub struct Budget {
    cpu: Duration,
    deadline: Instant,
    used: Cell<Duration>,
    slice_start: Cell<Instant>,
    measured: Cell<Option<Measured>>,
    hit: Cell<Option<Limit>>,
}

/// CPU time, from the moment when a script became suspect.
#[derive(Clone, Copy, Debug)]
struct Measured {
    /// In slices that have ended.
    used: Duration,
    /// Of the thread when this slice began, or when measuring did.
    start: Duration,
    /// Of this slice before measuring began.
    before: Duration,
    /// Not measured again until the clock says so.
    cpu_again: Duration,
    stuck_again: Duration,
}

impl Budget {
    pub fn new(limits: &Limits, deadline: Instant) -> Budget {
        Budget {
            cpu: limits.cpu,
            deadline,
            used: Cell::default(),
            slice_start: Cell::new(Instant::now()),
            measured: Cell::default(),
            hit: Cell::default(),
        }
    }

    /// The script is about to run.
    pub fn enter(&self) {
        self.slice_start.set(Instant::now());
        if let Some(measured) = self.measured.get() {
            let start = thread_cpu();
            self.measured.set(Some(Measured { start, before: Duration::ZERO, stuck_again: STUCK, ..measured }));
        }
    }

    /// The script gave way or waits.
    pub fn leave(&self) {
        self.used.set(self.used.get() + self.slice_start.get().elapsed());
        if let Some(measured) = self.measured.get() {
            let used = measured.used + measured.slice();
            self.measured.set(Some(Measured { used, ..measured }));
        }
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
        let used = self.used.get() + slice;
        let over = used >= SUSPECT.min(self.cpu) && self.is_over(used, slice, can_yield);
        let limit = if over {
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

    /// Whether CPU time is used up: as a whole, or of a slice that can't give way.
    fn is_over(&self, used: Duration, slice: Duration, can_yield: bool) -> bool {
        let mut measured = self.measured.get().unwrap_or_else(|| Measured {
            used: self.used.get(),
            start: thread_cpu(),
            before: slice,
            cpu_again: self.cpu,
            stuck_again: STUCK,
        });
        let mut over = false;
        if used >= measured.cpu_again || (!can_yield && slice >= measured.stuck_again) {
            let of_slice = measured.slice();
            let whole = measured.used + of_slice;
            over = whole >= self.cpu || (!can_yield && of_slice >= STUCK);
            measured.cpu_again = used + self.cpu.saturating_sub(whole);
            measured.stuck_again = slice + STUCK.saturating_sub(of_slice);
        }
        self.measured.set(Some(measured));
        over
    }
}

impl Measured {
    fn slice(&self) -> Duration {
        self.before + thread_cpu().saturating_sub(self.start)
    }
}

fn thread_cpu() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec.unsigned_abs() as u32)
}
