//! Runs a hook: slice by slice, waiting for what it waits for, until it returns, fails or is stopped.
//!
//! The loop is written by hand, not mlua's own future, because a slice must be measured, and a wait, a turn given to
//! others and a stray `coroutine.yield` told apart. Dropping the future drops the thread and what it waits for.

use super::{
    fault::{self, Failure},
    raw::threads::{self, Arguments, Left},
    running::{Answer, Running},
    vm::{Mark, Vm},
};
use crate::script::error::Limit;
use futures_util::FutureExt;
use mlua::{Function, Thread, Value};
use std::{
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    rc::Rc,
};
use tokio::time::Instant;

/// How one slice ended.
enum Step {
    Returned(Value),
    Raised(Value),
    Waits,
    GaveWay,
    /// `coroutine.yield` outside a coroutine.
    Strayed,
}

/// What the next slice begins with.
enum Start {
    Go,
    Error(Value),
}

/// Calls `function` as the hook `running`, by `entry` of the prelude, and gives what it returned.
pub async fn run(
    vm: &Vm,
    running: &Rc<Running>,
    entry: &Function,
    function: &Function,
    arguments: Arguments,
) -> Result<Value, Failure> {
    let (thread, mut start) = (begin(vm, running, entry, function, arguments)?, Start::Go);
    let deadline = Instant::from_std(running.budget.deadline());
    loop {
        match slice(vm, running, &thread, start)? {
            Step::Returned(value) => {
                vm.recycle(thread);
                return Ok(value);
            }
            Step::Raised(value) => {
                vm.recycle(thread);
                return Err(Failure::Raised(value));
            }
            Step::GaveWay => {
                match &running.scope {
                    Some(scope) => scope.services.turns.next().await,
                    None => tokio::task::yield_now().await,
                }
                start = Start::Go;
            }
            Step::Waits => {
                if let Some(pending) = running.pending.take() {
                    let Ok(answer) =
                        tokio::time::timeout_at(deadline, AssertUnwindSafe(pending.future).catch_unwind()).await
                    else {
                        running.halt(Limit::Wall);
                        // Resumed once more, to be told where it waited.
                        slice(vm, running, &thread, Start::Error(Mark::Stopped.into()))?;
                        return Err(Failure::Halted);
                    };
                    let result =
                        answer.or_else(|panic| running.guard(|| resume_unwind(panic)).map_err(Failure::Lua))?;
                    running.answer.replace(Some(Answer { result, function: pending.function }));
                }
                start = Start::Go;
            }
            Step::Strayed => start = Start::Error(message(vm, "there is no coroutine here to yield from")?),
        }
    }
}

/// The same without a runtime, for the body of a file: it can give way to nobody and wait for nothing.
pub fn run_now(vm: &Vm, running: &Rc<Running>, function: &Function) -> Result<Value, Failure> {
    let (thread, mut start) = (begin(vm, running, &vm.entry, function, Arguments::default())?, Start::Go);
    loop {
        start = match slice(vm, running, &thread, start)? {
            Step::Returned(value) => return Ok(value),
            Step::Raised(value) => return Err(Failure::Raised(value)),
            Step::GaveWay => Start::Go,
            Step::Waits | Step::Strayed => Start::Error(message(vm, "a file can't wait while it is loaded")?),
        }
    }
}

fn message(vm: &Vm, text: &str) -> Result<Value, Failure> {
    vm.lua.create_string(text).map(Value::String).map_err(Failure::Lua)
}

fn begin(
    vm: &Vm,
    running: &Rc<Running>,
    entry: &Function,
    function: &Function,
    arguments: Arguments,
) -> Result<Thread, Failure> {
    let thread = vm.thread(entry).map_err(Failure::Lua)?;
    running.thread.set(thread.state());
    threads::begin(&vm.lua, &thread, entry, function, arguments).map_err(Failure::Lua)?;
    Ok(thread)
}

fn slice(vm: &Vm, running: &Rc<Running>, thread: &Thread, start: Start) -> Result<Step, Failure> {
    let resumed = vm.slice(running, || {
        // A panic of a host function stays in its exchange.
        let resumed = catch_unwind(AssertUnwindSafe(|| match start {
            Start::Go => threads::resume(&vm.lua, thread),
            Start::Error(error) => {
                thread.resume_error(error).map(|(mark, ended_well, value)| Left::Values(mark, ended_well, value))
            }
        }));
        if running.over_memory(&vm.lua) {
            running.halt(Limit::Memory);
        }
        // Garbage that is mostly its own is collected at its expense; that of a hook that was stopped, when others had their turn.
        if running.budget.hit().is_none() && running.grown(&vm.lua) > (vm.memory / 8) as isize {
            vm.collect_if_full();
        }
        resumed
    });
    if running.budget.hit().is_none() {
        vm.collect_if_full();
    }
    let left = match resumed {
        Err(panic) => {
            running.panicked.replace(Some(fault::panic_text(&*panic)));
            return Err(Failure::Halted);
        }
        Ok(_) if running.halted() => return Err(Failure::Halted),
        Ok(resumed) => resumed.map_err(Failure::Lua)?,
    };
    let (mark, ended_well, value) = match left {
        Left::Nothing => return Ok(Step::Returned(Value::Nil)),
        Left::Wait => return Ok(Step::Waits),
        Left::Values(mark, ended_well, value) => (mark, ended_well, value),
    };
    match mark {
        mark if Mark::Done.is(&mark) => match ended_well {
            Value::Boolean(true) => Ok(Step::Returned(value)),
            _ => Ok(Step::Raised(value)),
        },
        mark if Mark::Wait.is(&mark) => Ok(Step::Waits),
        Value::Nil if running.asked() => Ok(Step::GaveWay),
        _ => Ok(Step::Strayed),
    }
}
