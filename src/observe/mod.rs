//! What operators see: metrics, traces, the access log and the program's own log.

pub mod access;
pub mod log;
pub mod metrics;
pub mod traces;

use std::{
    sync::mpsc::{SyncSender, TrySendError},
    time::{Duration, Instant},
};

/// Between two looks whether a full queue has room, where nobody but the end of the process waits.
const LOOK: Duration = Duration::from_millis(5);

/// Hands an item over, and waits for room until then. Gives whether there was any: `SyncSender` itself waits for ever.
fn send_by<T>(queue: &SyncSender<T>, mut item: T, end: Instant) -> bool {
    loop {
        match queue.try_send(item) {
            Ok(()) => return true,
            Err(TrySendError::Disconnected(_)) => return false,
            Err(TrySendError::Full(back)) => item = back,
        }
        if Instant::now() >= end {
            return false;
        }
        std::thread::sleep(LOOK);
    }
}
