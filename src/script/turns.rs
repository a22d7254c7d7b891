//! In what order the exchanges of a worker run their scripts.
//!
//! Were each script that gave way simply to go on after the worker has looked for input, fifty that loop would all have a slice in
//! between, and a neighbour would wait for fifty milliseconds. So they stand in one line, and between two looks only the first has its slice.
//!
//! Scripts that are done soon go the other way: many run behind each other, and then all of them write. Reading, running and writing each
//! stay in the processor's caches, and whoever is written to is awake for the next: with 64 connections a quarter less processor time for
//! a script with two calls and a tenth for a short hook, which with 256 connections takes a third less (`benches/README.md`). Redis
//! writes its answers at the end of a turn too (`beforeSleep`).

use super::list::NOBODY;
use std::{cell::Cell, future::poll_fn, task::Poll};
use tokio::{sync::Semaphore, task::yield_now};

/// With fewer exchanges under way, waiting for each other costs more than it saves.
const CROWD: usize = 8;

pub struct Turns {
    line: Semaphore,
    under_way: Cell<usize>,
}

impl Default for Turns {
    fn default() -> Turns {
        Turns { line: Semaphore::new(1), under_way: Cell::new(0) }
    }
}

impl Turns {
    /// Waits until the scripts before it have had their turn and the worker has looked for input.
    pub async fn next(&self) {
        // Closed never; and were it, giving way without a line would do.
        let _first = self.line.acquire().await;
        yield_now().await;
    }

    /// Counts an exchange until it is dropped.
    pub fn enter(&self) -> UnderWay<'_> {
        self.under_way.set(self.under_way.get() + 1);
        UnderWay(self)
    }

    /// To be awaited before scripts run and before what they led to is written: waits until the other exchanges that can go on now have
    /// got as far, if they are many.
    pub async fn together(&self) {
        // Where a script has a slice in every turn, one more turn is a slice more to wait.
        if self.under_way.get() < CROWD || self.line.available_permits() == 0 {
            return;
        }
        // To be asked for a result is no turn yet.
        poll_fn(|cx| if cx.waker().will_wake(NOBODY) { Poll::Pending } else { Poll::Ready(()) }).await;
        yield_now().await;
    }
}

/// An exchange that is under way.
pub struct UnderWay<'t>(&'t Turns);

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.under_way.set(self.0.under_way.get() - 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{cell::RefCell, future::Future, rc::Rc, task::Context};

    /// What `count` exchanges do that run and then write, as one task each.
    async fn run_and_write(turns: &Rc<Turns>, count: usize) -> String {
        let done = Rc::new(RefCell::new(String::new()));
        let exchange = || {
            let (turns, done) = (turns.clone(), done.clone());
            async move {
                let _under_way = turns.enter();
                yield_now().await;
                done.borrow_mut().push('r');
                turns.together().await;
                done.borrow_mut().push('w');
            }
        };
        let local = tokio::task::LocalSet::new();
        (0..count).for_each(|_| drop(local.spawn_local(exchange())));
        local.await;
        assert_eq!(turns.under_way.get(), 0);
        done.take()
    }

    #[tokio::test(flavor = "current_thread")]
    async fn many_run_before_the_first_writes_and_few_wait_for_nobody() {
        let turns = Rc::new(Turns::default());
        assert_eq!(run_and_write(&turns, CROWD).await, format!("{}{}", "r".repeat(CROWD), "w".repeat(CROWD)));
        assert_eq!(run_and_write(&turns, CROWD - 1).await, "rw".repeat(CROWD - 1));
        let _slices = turns.line.acquire().await;
        assert_eq!(run_and_write(&turns, CROWD).await, "rw".repeat(CROWD), "beside a script that has slices");
    }

    #[tokio::test(flavor = "current_thread")]
    async fn to_be_asked_for_a_result_is_no_turn() {
        let turns = Turns::default();
        let _crowd: Vec<_> = (0..CROWD).map(|_| turns.enter()).collect();
        let mut together = Box::pin(turns.together());
        assert!(together.as_mut().poll(&mut Context::from_waker(NOBODY)).is_pending());
        assert!(futures_util::poll!(&mut together).is_pending(), "the first time that somebody waits");
        together.await;
    }

    /// Between two of the neighbour's turns no more than one of the scripts runs, each as often as the others.
    #[tokio::test(flavor = "current_thread")]
    async fn one_script_runs_in_between_and_none_is_passed_over() {
        let turns = Rc::new(Turns::default());
        let ran = Rc::new(RefCell::new(Vec::new()));
        let script = |name: usize| {
            let (turns, ran) = (turns.clone(), ran.clone());
            async move {
                for _ in 0..3 {
                    turns.next().await;
                    ran.borrow_mut().push(name);
                }
            }
        };
        let neighbour = async {
            let mut most = 0;
            for _ in 0..200 {
                let before = ran.borrow().len();
                yield_now().await;
                most = most.max(ran.borrow().len() - before);
            }
            most
        };
        let scripts: Vec<_> = (0..10).map(|name| Box::pin(script(name))).collect();
        let local = tokio::task::LocalSet::new();
        let most = local
            .run_until(async {
                for script in scripts {
                    tokio::task::spawn_local(script);
                }
                neighbour.await
            })
            .await;
        assert_eq!(most, 1);
        let expected: Vec<usize> = (0..3).flat_map(|_| 0..10).collect();
        assert_eq!(*ran.borrow(), expected);
    }
}
