//! How much a hook may use.
//!
//! A [`Budget`] follows one hook call over all its slices: it counts CPU time only while the script runs, and remembers a limit that was hit, so
//! that the engine can raise it again at every step: a script that catches the first error does not survive the next.
//! The engines ask it from their interrupts; it knows nothing of them.

use super::error::Limit;
use std::{
    cell::Cell,
    rc::Rc,
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
    /// Bytes of one value that a function of the host takes: it can't give way while it works on it.
    pub value: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { cpu: Duration::from_millis(50), memory: 64 << 20, depth: 64, value: 8 << 20 }
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

/// A script that took longer by the clock is measured in CPU time, slice by slice.
const SUSPECT: Duration = Duration::from_millis(3);

/// What a hook call has taken by the end of a slice.
#[derive(Clone, Copy, Debug, Default)]
pub struct Usage {
    /// When its first slice began and this one ended.
    slices: Option<(Instant, Instant)>,
    /// Of the processor, as the limits count it.
    pub cpu: Duration,
}

impl Usage {
    /// How long a call took by the clock. One that did not end well may have been waiting when it was ended.
    pub fn took(&self, ended_well: bool) -> Duration {
        let Some((begun, left)) = self.slices else { return Duration::ZERO };
        if ended_well { left.saturating_duration_since(begun) } else { begun.elapsed() }
    }
}

/// Follows what one hook call uses.
///
/// Reading the clock is cheap, reading the thread's CPU time is a system call. So the clock counts at first, and only a script
/// that seems to be over its limit is measured in CPU time: on a busy machine a thread stands still for
/// milliseconds, and no script shall be stopped for that.
#[derive(Debug)]
pub struct Budget {
    cpu: Duration,
    deadline: Instant,
    clock: Rc<CpuClock>,
    /// In slices that have ended.
    used: Cell<Duration>,
    /// When the first slice began.
    begun: Cell<Option<Instant>>,
    slice_start: Cell<Instant>,
    /// The thread's CPU time when this slice began, or a little before.
    cpu_start: Cell<Duration>,
    /// Not measured again until the clock says so: over the whole call, and over this slice.
    cpu_again: Cell<Duration>,
    stuck_again: Cell<Duration>,
    /// The longest stretch between two looks: what a script has done once, such as a call on a large value, its next step may do again.
    longest: Cell<Duration>,
    hit: Cell<Option<Limit>>,
}

impl Budget {
    pub fn new(limits: &Limits, deadline: Instant, clock: &Rc<CpuClock>) -> Budget {
        Budget {
            cpu: limits.cpu,
            deadline,
            clock: clock.clone(),
            used: Cell::default(),
            begun: Cell::default(),
            // Set when the first slice begins.
            slice_start: Cell::new(deadline),
            cpu_start: Cell::default(),
            cpu_again: Cell::new(limits.cpu),
            stuck_again: Cell::new(STUCK),
            longest: Cell::default(),
            hit: Cell::default(),
        }
    }

    /// The script is about to run.
    pub fn enter(&self) {
        self.enter_at(Instant::now());
    }

    /// [`Budget::enter`] by a clock that was read already.
    pub fn enter_at(&self, now: Instant) {
        self.begun.set(self.begun.get().or(Some(now)));
        self.slice_start.set(now);
        self.cpu_start.set(self.clock.before(now));
        self.stuck_again.set(STUCK);
    }

    /// The script gave way or waits.
    pub fn leave(&self) -> Usage {
        let now = Instant::now();
        let slice = now.saturating_duration_since(self.slice_start.get());
        let before = self.used.get();
        let used = if before + slice < SUSPECT { slice } else { slice.min(self.slice_cpu()) };
        self.used.set(before + used);
        Usage { slices: self.begun.get().map(|begun| (begun, now)), cpu: before + used }
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
        self.check_at(Instant::now(), can_yield)
    }

    /// [`Budget::check`] by a clock that was read already.
    pub fn check_at(&self, now: Instant, can_yield: bool) -> Verdict {
        if let Some(limit) = self.hit.get() {
            return Verdict::Stop(limit);
        }
        let slice = now.saturating_duration_since(self.slice_start.get());
        let limit = if self.is_over(slice, can_yield) {
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

    /// Whether there is nothing to say yet, wherever the script is: it may go on, and need not even give way.
    pub fn is_early(&self, now: Instant) -> bool {
        let slice = now.saturating_duration_since(self.slice_start.get());
        slice < SLICE && now < self.deadline && self.hit.get().is_none() && !self.is_over(slice, false)
    }

    /// Whether CPU time is used up: as a whole, or of a slice that can't give way.
    fn is_over(&self, slice: Duration, can_yield: bool) -> bool {
        let used = self.used.get() + slice;
        if slice > STUCK && slice > self.longest.get() {
            self.longest.set(slice.min(self.slice_cpu()).max(self.longest.get()));
            self.cpu_again.set(self.most());
        }
        if used < self.cpu_again.get() && (can_yield || slice < self.stuck_again.get()) {
            return false;
        }
        let of_slice = slice.min(self.slice_cpu());
        let whole = self.used.get() + of_slice;
        self.cpu_again.set(used + self.most().saturating_sub(whole));
        self.stuck_again.set(slice + STUCK.saturating_sub(of_slice));
        whole >= self.most() || (!can_yield && of_slice >= STUCK)
    }

    /// The CPU time that is given: the budget, less so much that it is passed by little if the longest stretch comes again.
    fn most(&self) -> Duration {
        self.cpu.saturating_sub(self.longest.get().saturating_sub(STUCK))
    }

    /// Whether what was used and so much more would be above this.
    pub fn is_over_with(&self, now: Instant, more: Duration, most: Duration) -> bool {
        let slice = now.saturating_duration_since(self.slice_start.get());
        let over = |slice: Duration| self.used.get() + slice + more > most;
        over(slice) && over(slice.min(self.slice_cpu()))
    }

    fn slice_cpu(&self) -> Duration {
        thread_cpu().saturating_sub(self.cpu_start.get())
    }
}

/// The thread's CPU time as it was at most a millisecond of the clock ago; one for each engine, which belongs to a thread.
///
/// Without it a script that is found late would have to be taken at the clock's word: whether the thread ran or stood still
/// since the slice began can't be told afterwards.
#[derive(Debug)]
pub struct CpuClock {
    read: Cell<(Instant, Duration)>,
}

impl CpuClock {
    pub fn new() -> Rc<CpuClock> {
        Rc::new(CpuClock { read: Cell::new((Instant::now(), thread_cpu())) })
    }

    /// At `now` or before it, so that what is counted from there is never too little.
    fn before(&self, now: Instant) -> Duration {
        let (at, cpu) = self.read.get();
        if now.saturating_duration_since(at) < SLICE {
            return cpu;
        }
        let cpu = thread_cpu();
        self.read.set((now, cpu));
        cpu
    }
}

/// The CPU time of this thread. Unlike the clock it does not count what other threads and programs do.
pub fn thread_cpu() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec.unsigned_abs() as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is said of a script that takes so long over one step and may give way, and after so many.
    fn after(steps: u32, each: Duration) -> Verdict {
        let limits = Limits::default();
        let budget = Budget::new(&limits, Instant::now() + Duration::from_secs(60), &CpuClock::new());
        let mut said = Verdict::Go;
        for _ in 0..steps {
            budget.enter();
            let begun = thread_cpu();
            while thread_cpu() - begun < each {}
            said = budget.check(true);
            budget.leave();
        }
        said
    }

    #[test]
    fn a_long_step_is_not_taken_again_when_it_would_pass_the_budget_by_far() {
        assert_eq!(after(1, Duration::from_millis(8)), Verdict::Yield);
        assert_eq!(after(1, Duration::from_millis(20)), Verdict::Yield);
        // 35 more would be 70 of 50.
        assert_eq!(after(1, Duration::from_millis(35)), Verdict::Stop(Limit::Cpu));
        assert_eq!(after(9, Duration::from_millis(5)), Verdict::Yield);
    }
}
