//! Scripts that want everything: each is stopped in time, and its neighbours hardly notice.

use super::*;
use std::time::{Duration, Instant};

/// Runs a hook beside a timer of 1 ms on the same thread: what was said, how long it took, and how late the timer was at worst.
async fn beside_a_neighbour(text: &str, body: &str) -> (String, Duration, Duration) {
    let program = compile(text);
    let state = load(&program, "{}").await;
    let started = Instant::now();
    let mut call = program.call(Hook::OnRequest, scope(Hook::OnRequest, Some(exchange(body))), &state);
    let mut latest = Duration::ZERO;
    loop {
        let asleep = Instant::now();
        tokio::select! {
            biased;
            said = &mut call => return (told(said), started.elapsed(), latest),
            () = tokio::time::sleep(Duration::from_millis(1)) => {
                latest = latest.max(asleep.elapsed().saturating_sub(Duration::from_millis(1)));
            }
        }
    }
}
