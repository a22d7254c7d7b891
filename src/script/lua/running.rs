//! What is known about the hook that runs right now.
//!
//! A [`Running`] is made for each hook call and set as the machine's current one for every slice of it; host functions find
//! their scope there and leave what they wait for, what they raise and what ends the hook.

mod handles;

use super::fault::{self, Frame};
use crate::{
    memory,
    script::{
        Raise, Reply, Scope, Value,
        error::Limit,
        limits::{Budget, Limits, SLICE, Verdict},
    },
};
use futures_util::future::LocalBoxFuture;
use handles::Handles;
pub use handles::{CONTEXT, PLACES, REQUEST, RESPONSE, RESULT, RESULT_HEADERS};
use mlua::{Lua, VmState};
use std::{
    cell::{Cell, RefCell},
    panic::{AssertUnwindSafe, catch_unwind},
    rc::Rc,
    time::Instant,
};

/// The interrupt looks at the clock at every so many steps, a quarter of what looking costs.
const STRIDE: u32 = 8;
/// And at the memory too at every so many; sooner when much was allocated.
const LONG_STRIDE: u32 = 64;
/// A step that allocated this much was a long one: look at the clock at once.
const BULK: isize = 256 << 10;
/// Steps that a statement may spend in metamethods, as a row of `req.headers[…]` does, before it can give way.
const VAIN_STEPS: u32 = 32;

/// What a host function waits for, and its name for messages.
pub struct Pending {
    pub future: LocalBoxFuture<'static, Result<Value, Raise>>,
    pub function: Rc<str>,
}

/// What came of it.
pub struct Answer {
    pub result: Result<Value, Raise>,
    pub function: Rc<str>,
}

pub struct Running {
    /// None while a file is loaded.
    pub scope: Option<Rc<Scope>>,
    /// `ctx.config` and `ctx.state`.
    pub natives: Rc<Natives>,
    pub budget: Budget,
    pub pending: RefCell<Option<Pending>>,
    pub answer: RefCell<Option<Answer>>,
    /// The message that the prelude will raise.
    pub raised: RefCell<Option<String>>,
    /// A reply that a host function ended the hook with.
    pub ended: RefCell<Option<Box<Reply>>>,
    /// The calls that led to the error raised last, innermost first.
    pub frames: RefCell<Vec<Frame>>,
    /// Modules that are being loaded, outermost first.
    pub loading: RefCell<Vec<String>>,
    pub handles: Handles,
    /// A host function panicked: what it said.
    pub panicked: RefCell<Option<String>>,
    /// The hook's own thread; only compared.
    pub thread: Cell<*const mlua::lua_State>,
    halted: Cell<bool>,
    /// When the script was first asked to give way in this slice: the step and the time.
    asked: Cell<Option<(u32, Instant)>>,
    steps: Cell<u32>,
    /// Look at the clock before the stride is over when the thread's count of bytes passes this: it was a long step.
    alarm: Cell<isize>,
    memory: Memory,
}

/// `ctx.config` and `ctx.state`, and their places in the machine's table of natives; 0 is nil's.
#[derive(Default)]
pub struct Natives {
    pub config: mlua::Value,
    pub state: mlua::Value,
    pub places: (i32, i32),
}

/// How far one hook made the machine grow, over all its slices.
struct Memory {
    share: usize,
    grown: Cell<isize>,
    slice_start: Cell<usize>,
    /// Beside the machine: replies, bodies, variables of the exchange; up to this slice, and the thread's count when it began.
    outside: Cell<isize>,
    thread_start: Cell<isize>,
    /// What the machine held when nothing ran.
    idle: usize,
    /// What all hooks that wait at the moment hold, of the whole machine.
    waiting: Rc<Cell<isize>>,
}

impl Drop for Running {
    fn drop(&mut self) {
        // Since its last slice it was counted among those that wait.
        let waiting = &self.memory.waiting;
        waiting.set(waiting.get() - self.memory.grown.get());
    }
}

impl Running {
    pub fn new(
        scope: Option<Rc<Scope>>,
        natives: Rc<Natives>,
        budget: Budget,
        share: usize,
        idle: usize,
        waiting: Rc<Cell<isize>>,
    ) -> Running {
        Running {
            scope,
            natives,
            budget,
            pending: RefCell::default(),
            answer: RefCell::default(),
            raised: RefCell::default(),
            ended: RefCell::default(),
            frames: RefCell::default(),
            loading: RefCell::default(),
            handles: Handles::default(),
            panicked: RefCell::default(),
            thread: Cell::new(std::ptr::null()),
            halted: Cell::new(false),
            asked: Cell::default(),
            steps: Cell::new(0),
            alarm: Cell::new(isize::MAX),
            memory: Memory {
                share,
                grown: Cell::new(0),
                slice_start: Cell::new(0),
                outside: Cell::new(0),
                thread_start: Cell::new(0),
                idle,
                waiting,
            },
        }
    }

    pub fn enter(&self, lua: &Lua) {
        self.budget.enter();
        self.asked.set(None);
        let waiting = &self.memory.waiting;
        waiting.set(waiting.get() - self.memory.grown.get());
        self.memory.slice_start.set(lua.used_memory());
        let net = memory::net_bytes_of_thread();
        self.memory.thread_start.set(net);
        self.alarm.set(net + BULK);
    }

    pub fn leave(&self, lua: &Lua) {
        let used = self.budget.leave();
        if let Some(scope) = &self.scope {
            scope.used.set(used);
        }
        let (grown, outside) = (self.grown(lua), self.outside(lua));
        self.memory.grown.set(grown);
        self.memory.outside.set(outside);
        let waiting = &self.memory.waiting;
        waiting.set(waiting.get() + grown);
    }

    /// Whether the script was asked to give way in this slice.
    pub fn asked(&self) -> bool {
        self.asked.get().is_some()
    }

    pub fn halted(&self) -> bool {
        self.halted.get()
    }

    /// Ends the hook; nothing in the script can catch it.
    pub fn halt(&self, limit: Limit) {
        if self.budget.hit().is_none() {
            self.budget.stop(limit);
        }
        self.halted.set(true);
    }

    /// Runs host code. A panic of it ends the hook, and only the hook.
    pub fn guard<T>(&self, run: impl FnOnce() -> T) -> mlua::Result<T> {
        catch_unwind(AssertUnwindSafe(run)).map_err(|panic| {
            self.panicked.replace(Some(fault::panic_text(&*panic)));
            self.halted.set(true);
            stopped()
        })
    }

    /// A call that would wait where nothing can has an error for its answer.
    pub fn give_up_waiting(&self) {
        if let Some(pending) = self.pending.take() {
            let why = "can't wait here: inside a metamethod, or a function that sort or gsub calls";
            self.answer.replace(Some(Answer { result: Err(Raise::error(why)), function: pending.function }));
        }
    }

    pub fn end_with(&self, reply: Reply) {
        self.ended.borrow_mut().get_or_insert_with(|| Box::new(reply));
        self.halted.set(true);
    }

    /// Bytes of one value that a function of the host takes.
    pub fn largest_value(&self) -> usize {
        self.scope.as_ref().map_or(Limits::default().value, |scope| scope.instance.limits.value)
    }

    /// Bytes by which this hook may make the machine grow.
    pub fn share(&self) -> usize {
        self.memory.share
    }

    /// Bytes by which it made the machine grow, garbage included.
    pub fn grown(&self, lua: &Lua) -> isize {
        // Another hook's slice may have freed what this one had left behind.
        let slice = lua.used_memory() as isize - self.memory.slice_start.get() as isize;
        (self.memory.grown.get() + slice).max(0)
    }

    /// What this hook made the thread hold that is not the machine's.
    fn outside(&self, lua: &Lua) -> isize {
        let of_thread = memory::net_bytes_of_thread() - self.memory.thread_start.get();
        let of_machine = lua.used_memory() as isize - self.memory.slice_start.get() as isize;
        (self.memory.outside.get() + of_thread - of_machine).max(0)
    }

    /// Whether this hook holds more than its share. What it counted may be garbage: that is collected before it is blamed, and
    /// what others hold that wait is not its own.
    pub fn over_memory(&self, lua: &Lua) -> bool {
        let share = self.memory.share as isize;
        if self.grown(lua) + self.outside(lua) <= share {
            return false;
        }
        let _ = lua.gc_collect();
        let outside = self.outside(lua);
        self.memory.outside.set(outside);
        self.memory.thread_start.set(memory::net_bytes_of_thread());
        let live = lua.used_memory().saturating_sub(self.memory.idle) as isize - self.memory.waiting.get();
        let live = live.max(0);
        self.memory.grown.set(live);
        self.memory.slice_start.set(lua.used_memory());
        live + outside > share
    }

    /// The machine's interrupt, at every call and every turn of a loop.
    pub fn interrupt(&self, lua: &Lua) -> mlua::Result<VmState> {
        if self.halted.get() {
            return Err(stopped());
        }
        let steps = self.steps.get().wrapping_add(1);
        self.steps.set(steps);
        if steps.is_multiple_of(STRIDE) || memory::net_bytes_of_thread() > self.alarm.get() {
            return self.look(lua);
        }
        // Asked in vain, between the turns to look: a loop in step with them would never be asked where it can yield.
        Ok(if self.asked() && self.is_own(lua) { VmState::Yield } else { VmState::Continue })
    }

    /// Whether the hook's own thread runs, and no coroutine of the script's.
    pub fn is_own(&self, lua: &Lua) -> bool {
        self.thread.get() == lua.exec_raw_lua(|raw| raw.state().cast_const())
    }

    /// Luau ignores a yield inside a metamethod or a callback of the library, so having asked for a while without being
    /// left counts as standing in one. A few steps may be inside a short one, and a thread that stood still took none.
    fn asked_in_vain(&self) -> bool {
        self.asked
            .get()
            .is_some_and(|(step, time)| self.steps.get().wrapping_sub(step) >= VAIN_STEPS && time.elapsed() >= SLICE)
    }

    /// The next step looks at the clock: this one took long.
    pub fn look_soon(&self) {
        self.alarm.set(isize::MIN);
    }

    /// Looks at the clock and the memory.
    fn look(&self, lua: &Lua) -> mlua::Result<VmState> {
        self.alarm.set(memory::net_bytes_of_thread() + BULK);
        // A yield inside a script's own coroutine would go to its resumer, which would take it for a result.
        let own = self.is_own(lua);
        if self.over_memory(lua) {
            return self.leave_for_good(lua, Limit::Memory, own);
        }
        match self.budget.check(own && !self.asked_in_vain()) {
            Verdict::Stop(limit) => self.leave_for_good(lua, limit, own),
            Verdict::Yield => {
                if self.asked.get().is_none() {
                    self.asked.set(Some((self.steps.get(), Instant::now())));
                }
                Ok(VmState::Yield)
            }
            Verdict::Go if own && self.asked() => Ok(VmState::Yield),
            Verdict::Go => Ok(VmState::Continue),
        }
    }

    /// Ends the hook. Its own thread is left where it stands and dropped with all its frames: an error would have to pass each of
    /// thousands of nested calls of `pcall`, at microseconds each. Where Luau ignores the yield the next step raises it after all.
    fn leave_for_good(&self, lua: &Lua, limit: Limit, own: bool) -> mlua::Result<VmState> {
        let stopped = self.stop_here(lua, limit);
        if own { Ok(VmState::Yield) } else { Err(stopped) }
    }

    /// Notes where it was: what the script catches on its way out would hide it.
    fn stop_here(&self, lua: &Lua, limit: Limit) -> mlua::Error {
        self.frames.replace(fault::frames(lua));
        self.halt(limit);
        stopped()
    }

    /// For Rust that works long on a script's behalf: an error when the hook was stopped.
    pub fn tick(&self) -> mlua::Result<()> {
        if let Verdict::Stop(limit) = self.budget.check(false) {
            self.halt(limit);
            return Err(stopped());
        }
        Ok(())
    }

    /// A step on which there is nothing to do, as on most: of a script that nothing was asked of, whose time is not over yet and that
    /// allocated little since its memory was looked at.
    pub fn is_quick_step(&self) -> bool {
        let steps = self.steps.get().wrapping_add(1);
        let is_timely = || !steps.is_multiple_of(LONG_STRIDE) && self.budget.is_early(Instant::now());
        let is_quick = !self.halted.get()
            && !self.asked()
            && memory::net_bytes_of_thread() <= self.alarm.get()
            && (!steps.is_multiple_of(STRIDE) || is_timely());
        if is_quick {
            self.steps.set(steps);
        }
        is_quick
    }
}

/// The error that unwinds a script that was stopped; what stopped it stands in its [`Running`].
#[derive(Debug, thiserror::Error)]
#[error("the script was stopped")]
struct Stopped;

pub fn stopped() -> mlua::Error {
    mlua::Error::external(Stopped)
}
