//! What `on_load` gave to `every`: functions that run again and again while a generation serves.
//!
//! Collected here by the worker's services, taken by whoever prepares the place, run by `proxy::background`. The functions
//! are the engines' own and only passed back to the program that they came from.

use std::{any::Any, cell::RefCell, fmt, rc::Rc, time::Duration};

/// A shorter interval is refused: such work belongs to a request.
pub const MIN_INTERVAL: Duration = Duration::from_millis(100);
/// For each use of a plugin.
pub const MAX_TASKS: usize = 16;
/// The wall time of one run.
pub const RUN_TIME: Duration = Duration::from_secs(60);

/// A function of a script, in the engine's own form.
pub type Callback = Rc<dyn Any>;

#[derive(Clone)]
pub struct Given {
    pub interval: Duration,
    pub callback: Callback,
}

impl fmt::Debug for Given {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Given").field("interval", &self.interval).finish_non_exhaustive()
    }
}

#[derive(Debug, Default)]
pub struct Background(RefCell<Vec<Given>>);

impl Background {
    /// False when there are as many as there may be.
    pub fn add(&self, given: Given) -> bool {
        let mut all = self.0.borrow_mut();
        let has_room = all.len() < MAX_TASKS;
        if has_room {
            all.push(given);
        }
        has_room
    }

    /// What the `on_load` that just ended has given.
    pub fn take(&self) -> Vec<Given> {
        self.0.take()
    }
}
