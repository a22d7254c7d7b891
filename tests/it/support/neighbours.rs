//! A neighbour of scripts that misbehave: its route, a client that asks it again and again, and how long the answers took.

use super::{Gateway, Request};
use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

/// The script of the route `/neighbour`.
pub const NEIGHBOUR: &str = "return { handle = function() return reply.text(200, 'fine') end }";

/// Says that it is over also when the test has failed: whoever asks must come to an end.
pub struct Done<'a>(pub &'a AtomicBool);

impl Drop for Done<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Asks the neighbour so often, and gives how long each answer took.
pub fn ask_the_neighbour(gateway: &Gateway, count: usize) -> Vec<Duration> {
    let mut client = gateway.connect();
    (0..count).map(|_| ask(&mut client)).collect()
}

/// Asks the neighbour again and again while `meanwhile` runs.
pub fn neighbours(gateway: &Gateway, meanwhile: impl FnOnce()) -> Vec<Duration> {
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let asking = scope.spawn(|| {
            let mut client = gateway.connect();
            let mut times = Vec::new();
            while !done.load(Ordering::Relaxed) {
                times.push(ask(&mut client));
            }
            times
        });
        let ends = Done(&done);
        meanwhile();
        drop(ends);
        asking.join().expect("the neighbour's client")
    })
}

fn ask(client: &mut super::Client) -> Duration {
    let asked = Instant::now();
    assert_eq!(client.send(&Request::get("/neighbour")).ok().text(), "fine");
    asked.elapsed()
}

pub fn percentile(times: &mut [Duration], percent: usize) -> Duration {
    times.sort();
    times[(times.len() - 1) * percent / 100]
}
