//! The time a client has for its request's head, as hyper asks for it.
//!
//! hyper wants a new timer for every head and drops it when the head is there. With tokio's own that is an allocation, an entry in
//! the timer wheel and its removal for each request (730 instructions, against 440 so); here one entry a connection stays armed, and is
//! moved only when it fires too early.

use crate::upstream::Timer;
use hyper::rt;
use std::{
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::{Duration, Instant},
};

/// Of one connection. Its lock is never waited for: hyper asks for `Send`, but a connection stays on its worker.
#[derive(Default)]
pub struct HeadTimer {
    armed: Arc<Mutex<Timer>>,
}

struct Head {
    armed: Arc<Mutex<Timer>>,
    deadline: Instant,
}

impl rt::Timer for HeadTimer {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn rt::Sleep>> {
        self.sleep_until(Instant::now() + duration)
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn rt::Sleep>> {
        Box::pin(Head { armed: self.armed.clone(), deadline })
    }
}

impl rt::Sleep for Head {}

impl Future for Head {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut armed = self.armed.lock().unwrap_or_else(PoisonError::into_inner);
        armed.poll(cx, self.deadline.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::rt::Timer as _;

    #[tokio::test]
    async fn each_head_has_its_own_deadline_on_one_timer() {
        let timer = HeadTimer::default();
        let started = Instant::now();
        let after = |millis| timer.sleep_until(started + Duration::from_millis(millis));
        let mut answered_in_time = after(10);
        assert!(futures_util::poll!(&mut answered_in_time).is_pending());
        drop(answered_in_time);
        after(40).await;
        assert!(started.elapsed() >= Duration::from_millis(40), "{:?}", started.elapsed());
        after(20).await;
        after(50).await;
        assert!(started.elapsed() >= Duration::from_millis(50), "{:?}", started.elapsed());
    }
}
