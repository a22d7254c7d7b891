//! Scripts that can stop in the middle: stackful coroutines, and all unsafe code of this engine.
//!
//! Rhai has no async, so a hook runs on a [`Fiber`], which has a stack of its own. Code on it calls
//! [`Fibers::suspend`] with a [`Wish`]; [`Fiber::resume`] then returns that wish to the driver, which fulfils it
//! and resumes with the [`Answer`]. A fiber never leaves its thread. Dropping one unwinds what is on its stack.

use super::super::{Raise, Value};
use corosensei::{
    Coroutine, CoroutineResult, Yielder,
    stack::{DefaultStack, Stack},
};
use futures_util::future::LocalBoxFuture;
use std::{
    cell::{Cell, RefCell},
    io, ptr,
    rc::Rc,
};

/// What a fiber asks of its driver.
pub enum Wish {
    /// Let other exchanges run.
    GiveWay,
    Wait(LocalBoxFuture<'static, Result<Value, Raise>>),
}

/// What the driver resumes with.
pub enum Answer {
    Go,
    Value(Result<Value, Raise>),
}

pub enum Step<R> {
    Suspended(Wish),
    Done(R),
}

type Switch = Yielder<Answer, Wish>;

/// Where the running code can suspend, and how deep its stack may become.
#[derive(Clone, Copy)]
struct Place {
    /// Null when nothing can suspend.
    switch: *const Switch,
    /// The lowest usable address of the stack.
    floor: usize,
}

const NOWHERE: Place = Place { switch: ptr::null(), floor: 0 };

/// Rhai needs about one megabyte at the depth limit, more is for values that scripts nest in each other: they are copied and
/// dropped recursively, out of our sight, at three times the memory they take.
const BYTES_OF_STACK_FOR_MEMORY: usize = 4;
/// Beside that, and when the system does not give more.
const SMALL_STACK: usize = 1 << 20;
/// Stacks kept for reuse: a fresh one costs 16 µs, a pooled one 0.2 µs.
const POOLED: usize = 128;

/// A worker's fibers: which one runs, and stacks for new ones.
pub struct Fibers {
    // Invariant: `switch` is the running fiber's own, from the moment its body starts until `resume` returns, and null
    // whenever no fiber of ours runs.
    place: Cell<Place>,
    pool: RefCell<Vec<DefaultStack>>,
    stack: usize,
}

impl Fibers {
    /// For scripts that hold up to so many bytes of memory. Stacks are address space: only what is used becomes memory.
    pub fn new(memory: usize) -> Fibers {
        // Not a multiple of 2 MiB, so that Linux does not back the upper end, all that is mostly used, with a huge page.
        let stack = memory.saturating_mul(BYTES_OF_STACK_FOR_MEMORY) + SMALL_STACK;
        Fibers { place: Cell::new(NOWHERE), pool: RefCell::default(), stack }
    }

    /// Hands a wish to the driver and waits for its answer; none when the caller does not run on a fiber, or on one that is being dropped.
    pub fn suspend(&self, wish: Wish) -> Option<Answer> {
        let switch = self.place.get().switch;
        if switch.is_null() {
            return None;
        }
        // SAFETY: by the invariant of `place` we are called by code on the fiber that `switch` belongs to: `resume` set it
        // before it switched to this stack and clears it when it returns, on every path. The yielder lives in that fiber's
        // root frame, below us on the stack, so it outlives this call. It is used by this thread only: `Fibers` is not `Send`.
        Some(unsafe { (*switch).suspend(wish) })
    }

    /// Bytes left on the running fiber's stack; plenty when none runs.
    pub fn stack_left(&self) -> usize {
        let here = 0u8;
        (&raw const here as usize).saturating_sub(self.place.get().floor)
    }

    fn stack(&self) -> io::Result<DefaultStack> {
        match self.pool.borrow_mut().pop() {
            Some(stack) => Ok(stack),
            None => DefaultStack::new(self.stack).or_else(|_| DefaultStack::new(SMALL_STACK)),
        }
    }

    /// Sets the place until the returned guard is dropped.
    fn at(&self, place: Place) -> impl Drop {
        struct Restore<'a>(&'a Fibers, Place);
        impl Drop for Restore<'_> {
            fn drop(&mut self) {
                self.0.place.set(self.1);
            }
        }
        Restore(self, self.place.replace(place))
    }
}

/// A computation on a stack of its own.
pub struct Fiber<R> {
    fibers: Rc<Fibers>,
    /// None only while dropping.
    coroutine: Option<Coroutine<Answer, Wish, R, DefaultStack>>,
    place: Place,
    pooled: bool,
}

impl<R: 'static> Fiber<R> {
    /// Makes a fiber that runs `body` when it is first resumed.
    pub fn new(fibers: &Rc<Fibers>, body: impl FnOnce() -> R + 'static) -> io::Result<Fiber<R>> {
        let stack = fibers.stack()?;
        // The lowest page is the guard.
        let place = Place { switch: ptr::null(), floor: stack.limit().get() + 4096 };
        let own = fibers.clone();
        let coroutine = Coroutine::with_stack(stack, move |switch: &Switch, _| {
            own.place.set(Place { switch, ..own.place.get() });
            body()
        });
        Ok(Fiber { fibers: fibers.clone(), coroutine: Some(coroutine), place, pooled: true })
    }

    /// Gives its stack back to the system: it may have been used to its depth.
    pub fn discard_stack(&mut self) {
        self.pooled = false;
    }

    /// Runs it until it suspends or ends. A panic on the fiber comes out here, and the fiber is at its end.
    pub fn resume(&mut self, answer: Answer) -> Step<R> {
        let Some(coroutine) = &mut self.coroutine else {
            unreachable!("a fiber is resumed while it is dropped");
        };
        let restore = self.fibers.at(self.place);
        let result = coroutine.resume(answer);
        self.place = self.fibers.place.get();
        drop(restore);
        match result {
            CoroutineResult::Yield(wish) => Step::Suspended(wish),
            CoroutineResult::Return(output) => Step::Done(output),
        }
    }
}

impl<R> Drop for Fiber<R> {
    fn drop(&mut self) {
        let Some(mut coroutine) = self.coroutine.take() else { return };
        // Unwinding runs destructors on the fiber, and sort's callback even goes on after it: nothing may suspend there,
        // least of all another fiber that happens to drop this one.
        let restore = self.fibers.at(Place { switch: ptr::null(), ..self.place });
        coroutine.force_unwind();
        drop(restore);
        let mut pool = self.fibers.pool.borrow_mut();
        if self.pooled && pool.len() < POOLED {
            pool.push(coroutine.into_stack());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(fiber: &mut Fiber<i64>, answer: Answer) -> Option<i64> {
        match fiber.resume(answer) {
            Step::Suspended(_) => None,
            Step::Done(output) => Some(output),
        }
    }

    #[test]
    fn many_fibers_are_suspended_at_once_and_nested() {
        let fibers = Rc::new(Fibers::new(1 << 20));
        let mut all: Vec<Fiber<i64>> = (0..100)
            .map(|n| {
                let own = fibers.clone();
                let body = move || {
                    let inner_own = own.clone();
                    let mut inner = Fiber::new(&own, move || {
                        inner_own.suspend(Wish::GiveWay);
                        n
                    })
                    .expect("a stack");
                    assert_eq!(run(&mut inner, Answer::Go), None);
                    own.suspend(Wish::GiveWay);
                    run(&mut inner, Answer::Go).expect("the end") * 2
                };
                Fiber::new(&fibers, body).expect("a stack")
            })
            .collect();
        for fiber in &mut all {
            assert_eq!(run(fiber, Answer::Go), None);
        }
        let ends: Vec<i64> = all.iter_mut().rev().filter_map(|fiber| run(fiber, Answer::Go)).collect();
        assert_eq!(ends, (0..100).rev().map(|n| n * 2).collect::<Vec<_>>());
        assert!(fibers.suspend(Wish::GiveWay).is_none(), "nothing runs any more");
    }

    #[test]
    fn dropping_a_fiber_drops_what_is_on_it() {
        struct OnDrop(Rc<Cell<bool>>, Rc<Fibers>);
        impl Drop for OnDrop {
            fn drop(&mut self) {
                assert!(self.1.suspend(Wish::GiveWay).is_none(), "nothing suspends while unwinding");
                self.0.set(true);
            }
        }
        let (fibers, dropped) = (Rc::new(Fibers::new(1 << 20)), Rc::new(Cell::new(false)));
        let (own, guard) = (fibers.clone(), OnDrop(dropped.clone(), fibers.clone()));
        let mut fiber = Fiber::new(&fibers, move || {
            let _guard = guard;
            own.suspend(Wish::GiveWay);
            0
        })
        .expect("a stack");
        assert_eq!(run(&mut fiber, Answer::Go), None);
        assert!(!dropped.get());
        drop(fiber);
        assert!(dropped.get());
    }
}
