//! One hook call while it runs, and its worker: who may use how much.
//!
//! The engine's closures (progress, host functions) share one [`Worker`], which knows the [`Run`] that has the thread.
//! [`Worker::progress`] is asked at every step of a script: it stops, or gives way. The clock is read only at some of the steps.

use super::{
    fiber::{Answer, Fibers, Wish},
    json::{self, Shapes, Way},
    object::LastRead,
    wanted::{Calls, Wanted},
};
use crate::{
    memory,
    script::{
        Raise, Scope, Value,
        error::Limit,
        limits::{Budget, CpuClock, Limits, Verdict},
        list::Outcome,
    },
};
use ::rhai::{Dynamic, Module, Shared};
use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    rc::Rc,
    time::{Duration, Instant},
};

/// Modules by the name that scripts import them with.
pub type Imports = HashMap<String, Shared<Module>>;

/// The clock is read once in so many steps at most: a step costs 50 to 100 ns, reading the clock 25, and weighing it as much again.
const STRIDE: u32 = 32;
/// After a stretch that took this long each step looks: a slice is twice as long.
const SLOW: Duration = Duration::from_micros(500);
/// A step that allocated this much was a long one: look at the clock at once.
const BULK: isize = 64 << 10;
/// What a script holds in small pieces can be copied by its next step, and is let go in the end with its copy: piece by piece, values
/// that hold one another even by calls as deep, which no step interrupts. In the worst case a byte of them takes so long.
const NANOS_OF_CRUMB: u64 = 3;
/// The CPU time that copying and letting go may take beyond the budget.
const TO_END: Duration = Duration::from_millis(20);
/// A script stops when less than this is left of its stack.
const SPARE_STACK: usize = 48 << 10;
/// Host functions need more: JSON of the greatest depth, regular expressions.
const HOST_STACK: usize = 256 << 10;

/// What is shared by everything that runs on one engine.
pub struct Worker {
    pub fibers: Rc<Fibers>,
    /// What budgets are measured by.
    pub clock: Rc<CpuClock>,
    pub shapes: RefCell<Shapes>,
    /// Modules while a script is compiled; later they are the run's.
    pub loading: RefCell<Imports>,
    run: RefCell<Option<Rc<Run>>>,
    /// Bytes that all running hooks hold together, and may hold.
    held: Cell<isize>,
    memory: isize,
    /// What a test's clock is told by as an instant.
    begun: Instant,
}

/// What `ctx.config` and `ctx.state` give.
#[derive(Default)]
pub struct Loaded {
    pub config: Dynamic,
    pub state: Dynamic,
}

/// One call of a hook, over all its slices.
pub struct Run {
    /// None while a script's top level is evaluated at compile time.
    pub scope: Option<Rc<Scope>>,
    pub loaded: Rc<Loaded>,
    pub imports: Rc<Imports>,
    /// What is wanted of the documents that its calls give.
    pub calls: Rc<Calls>,
    pub budget: Budget,
    /// The string that an object of the gateway gave out last.
    pub last_read: RefCell<Option<LastRead>>,
    worker: Rc<Worker>,
    cpu: Duration,
    memory: isize,
    /// Bytes held at the end of the last slice.
    held: Cell<isize>,
    /// What of them is in small pieces, less the documents that it was given.
    crumbs_before: Cell<isize>,
    /// The thread's counts when this slice began.
    slice_start: Cell<isize>,
    small_start: Cell<isize>,
    /// Look closer when the thread's count passes this, or after so many steps.
    alarm: Cell<isize>,
    steps: Cell<u32>,
    stride: Cell<u32>,
    looked: Cell<Instant>,
}

impl Worker {
    pub fn new(memory: usize) -> Rc<Worker> {
        Rc::new(Worker {
            fibers: Rc::new(Fibers::new(memory)),
            clock: CpuClock::new(),
            shapes: RefCell::default(),
            loading: RefCell::default(),
            run: RefCell::default(),
            held: Cell::default(),
            memory: memory as isize,
            begun: Instant::now(),
        })
    }

    pub fn run(&self) -> Option<Rc<Run>> {
        self.run.borrow().clone()
    }

    /// What `timestamp` gives: in a test by its clock.
    pub fn instant(&self) -> Instant {
        let run = self.run.borrow();
        let trial = run.as_ref().and_then(|run| run.scope.as_ref()?.services.trial.as_ref());
        let of_trial = trial.and_then(|trial| self.begun.checked_add(trial.now()));
        of_trial.unwrap_or_else(Instant::now)
    }

    /// Bytes of one value that a function of the host takes.
    pub fn largest_value(&self) -> usize {
        let run = self.run.borrow();
        let scope = run.as_ref().and_then(|run| run.scope.as_ref());
        scope.map_or(Limits::default().value, |scope| scope.instance.limits.value)
    }

    /// The next step of the script looks at the clock: this one takes long.
    pub fn look_soon(&self) {
        if let Some(run) = &*self.run.borrow() {
            run.alarm.set(isize::MIN);
        }
    }

    /// JSON text as a script's value.
    pub fn decode(&self, text: &[u8]) -> Result<Dynamic, Raise> {
        self.given(|stops| json::decode(text, Way { shapes: &self.shapes, stops }))
    }

    /// JSON text as a value of which no more than this will be looked at.
    pub fn decode_wanted(&self, text: &[u8], wanted: &Wanted) -> Result<Dynamic, Raise> {
        self.given(|stops| json::decode_wanted(text, wanted, Way { shapes: &self.shapes, stops }))
    }

    /// What a document is made of does not count as crumbs: it is nested so deep only, and making it took longer than letting it go
    /// will. Its copies do.
    fn given<T>(&self, make: impl FnOnce(&dyn Fn() -> bool) -> T) -> T {
        let Some(run) = self.run() else { return make(&self.seldom(|| ())) };
        let crumbs = run.crumbs();
        let made = make(&self.seldom(|| run.set_crumbs(crumbs)));
        run.set_crumbs(crumbs);
        made
    }

    /// A script's value as JSON text.
    pub fn encode(&self, value: &Dynamic) -> Result<Vec<u8>, Raise> {
        json::encode(value, Way { shapes: &self.shapes, stops: &self.seldom(|| ()) })
    }

    /// [`Worker::progress`] for steps that are many and short, as the values of a document are; and what is to be
    /// done before.
    fn seldom(&self, before: impl Fn()) -> impl Fn() -> bool {
        let steps = Cell::new(0_u32);
        move || {
            steps.set(steps.get().wrapping_add(1));
            steps.get().is_multiple_of(STRIDE) && {
                before();
                self.progress()
            }
        }
    }

    /// `print` of a script, to the log.
    pub fn print(&self, text: &str) {
        let run = self.run();
        let plugin = run.as_ref().and_then(|run| run.scope.as_ref()).map(|scope| &*scope.instance.plugin);
        tracing::info!(plugin, "{text}");
    }

    /// The imported module of this name, of the running script or the one that is compiled.
    pub fn import(&self, name: &str) -> Option<Shared<Module>> {
        let of_run = self.run.borrow().as_ref().and_then(|run| run.imports.get(name).cloned());
        of_run.or_else(|| self.loading.borrow().get(name).cloned())
    }

    /// Whether the script must stop here; it may have given way meanwhile.
    #[inline]
    pub fn progress(&self) -> bool {
        match &*self.run.borrow() {
            // A script that goes on while its fiber is dropped: sort catches what unwinds through its callback.
            None => return true,
            Some(run) if !run.due() && self.fibers.stack_left() > SPARE_STACK => return false,
            Some(_) => (),
        }
        self.look()
    }

    #[inline(never)]
    fn look(&self) -> bool {
        let Some(run) = self.run() else { return true };
        if self.fibers.stack_left() <= SPARE_STACK {
            run.budget.stop(Limit::Depth);
            return true;
        }
        match run.look() {
            Verdict::Go => false,
            Verdict::Stop(_) => true,
            // Without a fiber the top level of a script runs: it just goes on, up to its limit.
            Verdict::Yield => {
                self.fibers.suspend(Wish::GiveWay);
                run.budget.hit().is_some()
            }
        }
    }

    /// Fulfils what a host function wants, suspending the script when it must wait.
    pub fn settle(&self, outcome: Outcome) -> Result<Value, Raise> {
        match outcome {
            Outcome::Done(done) => done,
            Outcome::Wait(future) => match self.fibers.suspend(Wish::Wait(future)) {
                Some(Answer::Value(value)) => value,
                Some(Answer::Go) | None => Err(Raise::error("can't wait here")),
            },
        }
    }

    /// Whether the script that runs has hit a limit.
    pub fn is_stopped(&self) -> bool {
        self.run.borrow().as_ref().is_some_and(|run| run.budget.hit().is_some())
    }

    /// An error when a host function would have too little stack, or the script is at its end: Rhai takes the text of a value in other
    /// ways when this one was stopped, and goes on with it up to its next step.
    pub fn room(&self) -> Result<(), Raise> {
        if self.is_stopped() {
            return Err(Raise::error("stopped"));
        }
        if self.fibers.stack_left() > HOST_STACK {
            return Ok(());
        }
        if let Some(run) = self.run() {
            run.budget.stop(Limit::Depth);
        }
        Err(Raise::error("calls are nested too deeply"))
    }
}

impl Run {
    pub fn new(
        worker: &Rc<Worker>,
        scope: Option<Rc<Scope>>,
        budget: Budget,
        limits: &Limits,
        imports: Rc<Imports>,
        loaded: Rc<Loaded>,
        calls: Rc<Calls>,
    ) -> Rc<Run> {
        let looked = Cell::new(budget.deadline());
        Rc::new(Run {
            scope,
            loaded,
            imports,
            calls,
            budget,
            last_read: RefCell::default(),
            worker: worker.clone(),
            cpu: limits.cpu,
            memory: limits.memory as isize,
            held: Cell::default(),
            crumbs_before: Cell::default(),
            slice_start: Cell::default(),
            small_start: Cell::default(),
            alarm: Cell::default(),
            steps: Cell::default(),
            stride: Cell::new(1),
            looked,
        })
    }

    /// The bytes that it may hold.
    pub fn memory(&self) -> usize {
        self.memory.min(self.worker.memory).unsigned_abs()
    }

    /// Runs one slice: `with` resumes the fiber.
    pub fn slice<T>(self: &Rc<Self>, with: impl FnOnce() -> T) -> T {
        struct Leave<'a>(&'a Rc<Run>, Option<Rc<Run>>);
        impl Drop for Leave<'_> {
            fn drop(&mut self) {
                let run = self.0;
                *run.worker.run.borrow_mut() = self.1.take();
                let used = run.budget.leave();
                if let Some(scope) = &run.scope {
                    scope.used.set(used);
                }
                let grown = memory::net_bytes_of_thread() - run.slice_start.get();
                run.held.set(run.held.get() + grown);
                run.crumbs_before.set(run.crumbs());
                run.worker.held.set(run.worker.held.get() + grown);
            }
        }
        let outer = self.worker.run.borrow_mut().replace(self.clone());
        let _leave = Leave(self, outer);
        let now = Instant::now();
        self.budget.enter_at(now);
        self.slice_start.set(memory::net_bytes_of_thread());
        self.small_start.set(memory::small_bytes_of_thread());
        self.alarm.set(self.slice_start.get() + BULK);
        // The first step of a slice looks at the clock: a script may wait more often than it is asked in between.
        self.steps.set(self.stride.get());
        self.looked.set(now);
        with()
    }

    #[inline]
    fn due(&self) -> bool {
        let steps = self.steps.get() + 1;
        self.steps.set(steps);
        steps >= self.stride.get() || memory::net_bytes_of_thread() > self.alarm.get()
    }

    fn look(&self) -> Verdict {
        let net = memory::net_bytes_of_thread();
        let grown = net - self.slice_start.get();
        self.alarm.set(net + BULK);
        self.steps.set(0);
        if self.held.get() + grown > self.memory || self.worker.held.get() + grown > self.worker.memory {
            self.budget.stop(Limit::Memory);
        }
        let now = Instant::now();
        let crumbs = Duration::from_nanos(self.crumbs().max(0).unsigned_abs() as u64 * NANOS_OF_CRUMB);
        if self.budget.is_over_with(now, crumbs, self.cpu.saturating_add(TO_END)) {
            self.budget.stop(Limit::Cpu);
        }
        let verdict = self.budget.check_at(now, true);
        // Steps differ: one may sort a large array. After a slow stretch look at each, then ever more rarely.
        let slow = now.duration_since(self.looked.replace(now)) > SLOW;
        self.stride.set(if slow { 1 } else { (self.stride.get() * 2).min(STRIDE) });
        verdict
    }

    /// Bytes that the script holds in small pieces, less the documents that it was given.
    fn crumbs(&self) -> isize {
        self.crumbs_before.get() + memory::small_bytes_of_thread() - self.small_start.get()
    }

    fn set_crumbs(&self, bytes: isize) {
        self.crumbs_before.set(self.crumbs_before.get() + bytes - self.crumbs());
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        // What a run still holds when it ends is the worker's: replies, states.
        self.worker.held.set(self.worker.held.get() - self.held.get());
    }
}
