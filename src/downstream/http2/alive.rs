//! Whether the client of a connection is still there: it is asked for a sign of life, and closed when none comes.

use h2::{Ping, PingPong};
use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};
use tokio::time::{Instant, Sleep, sleep};

const INTERVAL: Duration = Duration::from_secs(30);
const PATIENCE: Duration = Duration::from_secs(10);

pub struct Alive {
    /// Absent only when it is somebody else's already.
    pings: Option<PingPong>,
    timer: Pin<Box<Sleep>>,
    waiting: bool,
}

impl Alive {
    pub fn new(pings: Option<PingPong>) -> Alive {
        Alive { pings, timer: Box::pin(sleep(INTERVAL)), waiting: false }
    }

    /// Ready when no sign has come in time.
    pub fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(pings) = &mut self.pings else { return Poll::Pending };
        loop {
            if self.waiting && pings.poll_pong(cx).is_ready() {
                self.waiting = false;
                self.timer.as_mut().reset(Instant::now() + INTERVAL);
            }
            if self.timer.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            if self.waiting {
                return Poll::Ready(());
            }
            // One that can't be sent finds no pong.
            let _ = pings.send_ping(Ping::opaque());
            self.waiting = true;
            self.timer.as_mut().reset(Instant::now() + PATIENCE);
        }
    }
}
