//! A timer for waits that seldom last: armed late, moved as seldom as possible, and never taken away.
//!
//! With tokio's own, each wait is an allocation, an entry in the timer wheel and its removal (730 instructions for one that is
//! over before its time, against a comparison of two numbers here). One belongs to each connection, of clients and to targets.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};
use tokio::time::{Instant, Sleep, sleep_until};

/// A timer that is armed only when an exchange must wait, and moved as seldom as possible: it stays armed from one
/// request to the next, and looks at the clock again when it fires early.
#[derive(Debug, Default)]
pub struct Timer {
    sleep: Option<Pin<Box<Sleep>>>,
    /// Whom it wakes, by the address of the task.
    wakes: usize,
}

impl Timer {
    /// Ready once it is `limit`.
    pub fn poll(&mut self, cx: &mut Context<'_>, limit: Instant) -> Poll<()> {
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(sleep_until(limit)));
        let task = cx.waker().data().addr();
        if sleep.deadline() > limit {
            sleep.as_mut().reset(limit);
        } else if self.wakes == task && !sleep.is_elapsed() {
            // As it was left by the last wait. The task is there as long as the timer means to wake it, so that no other has its address.
            return Poll::Pending;
        }
        self.wakes = task;
        loop {
            ready!(sleep.as_mut().poll(cx));
            if Instant::now() >= limit {
                return Poll::Ready(());
            }
            sleep.as_mut().reset(limit);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{future::poll_fn, task::Waker, time::Duration};

    #[tokio::test]
    async fn a_timer_that_is_armed_wakes_whoever_waits_now() {
        let mut timer = Timer::default();
        let limit = Instant::now() + Duration::from_millis(10);
        let other = Context::from_waker(Waker::noop());
        assert!(timer.poll(&mut { other }, limit).is_pending());
        poll_fn(|cx| timer.poll(cx, limit)).await;
        assert!(timer.poll(&mut Context::from_waker(Waker::noop()), limit).is_ready());
    }

    #[tokio::test]
    async fn each_wait_has_its_own_limit_on_one_timer() {
        let mut timer = Timer::default();
        let started = Instant::now();
        let at = |millis| started + Duration::from_millis(millis);
        assert!(futures_util::poll!(poll_fn(|cx| timer.poll(cx, at(10)))).is_pending());
        // That wait was over in time.
        poll_fn(|cx| timer.poll(cx, at(40))).await;
        assert!(started.elapsed() >= Duration::from_millis(40), "{:?}", started.elapsed());
        poll_fn(|cx| timer.poll(cx, at(20))).await;
        poll_fn(|cx| timer.poll(cx, at(50))).await;
        assert!(started.elapsed() >= Duration::from_millis(50), "{:?}", started.elapsed());
    }
}
