//! The language of the tests: a [`Gateway`] between [`Upstream`]s and a client that writes its own bytes.
//!
//! One file an idea. All of it blocks: a test reads from top to bottom, and what goes on side by side is a thread. The HTTP
//! here is written by hand on purpose, so that no bug of a library under test hides in the test as well.

pub mod browser;
pub mod certificates;
pub mod client;
pub mod collector;
pub mod command;
pub mod curl;
pub mod frames;
pub mod gateway;
pub mod neighbours;
pub mod python;
pub mod quickstart;
pub mod redis;
pub mod stock;
pub mod token;
pub mod upstream;
pub mod websocket;
pub mod wire;

pub use client::{Client, Request};
pub use gateway::{Gateway, gateway};
pub use upstream::{Upstream, reply};
pub use wire::Answer;

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

/// Longer than anything takes on a busy machine; a test that waits for this has failed.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// The repository's own file.
pub fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// Asks again and again until there is an answer; for what can only be seen by asking.
pub fn eventually<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = ask() {
            return found;
        }
        assert!(Instant::now() < end, "never: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
