//! Errors of scripts that come again and again: each is logged once, then counted, and the count is logged once an interval.
//!
//! A script that fails on every request would otherwise write a page for each and bury everything else. Which requests it was is
//! in the access log, by their ids. One for each generation and worker: after a reload an error is news again.

use crate::script::ScriptError;
use ahash::AHashMap;
use std::{
    cell::RefCell,
    time::{Duration, Instant},
};

const INTERVAL: Duration = Duration::from_secs(10);
/// Different errors that are told apart; when there are more, for instance because their texts hold an id, the others are all logged.
const MOST: usize = 256;

#[derive(Default)]
pub struct Repeats {
    known: RefCell<AHashMap<u64, Known>>,
    hashes: ahash::RandomState,
}

struct Known {
    since: Instant,
    repeats: u64,
    text: String,
    /// Of the last request that it failed.
    last: String,
}

impl Repeats {
    /// Whether this is to be logged; counts it otherwise.
    pub fn is_news(&self, error: &ScriptError, id: &str, now: Instant) -> bool {
        let ScriptError { file, line, column, message, hook, .. } = error;
        let key = self.hashes.hash_one((file, line, column, message, hook));
        let mut known = self.known.borrow_mut();
        if let Some(known) = known.get_mut(&key) {
            known.repeats += 1;
            id.clone_into(&mut known.last);
            return false;
        }
        if known.len() < MOST {
            known.insert(key, Known { since: now, repeats: 0, text: error.to_string(), last: String::new() });
        }
        true
    }

    /// Logs the counts of intervals that are over, and forgets what was not seen again.
    pub fn sweep(&self, now: Instant) {
        self.known.borrow_mut().retain(|_, known| {
            if now.saturating_duration_since(known.since) < INTERVAL {
                return true;
            }
            known.told() && {
                known.since = now;
                true
            }
        });
    }
}

impl Known {
    /// Whether there was something to tell.
    fn told(&mut self) -> bool {
        let repeats = std::mem::take(&mut self.repeats);
        if repeats > 0 {
            let (error, last_id) = (&*self.text, &*self.last);
            tracing::error!(error, repeats, last_id, "a script failed again in the same way");
        }
        repeats > 0
    }
}

impl Drop for Repeats {
    fn drop(&mut self) {
        self.known.get_mut().values_mut().for_each(|known| {
            known.told();
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::script::error::Fault;

    fn error(message: &str) -> ScriptError {
        ScriptError {
            fault: Fault::Runtime,
            message: message.into(),
            file: "a.lua".into(),
            line: 3,
            column: 1,
            source_line: String::new(),
            hook: None,
            stack: Vec::new(),
            help: None,
            also: Vec::new(),
        }
    }

    #[test]
    fn an_error_is_news_once_and_again_after_a_quiet_interval() {
        let (repeats, start) = (Repeats::default(), Instant::now());
        let news =
            |message: &str, after: u64| repeats.is_news(&error(message), "id", start + Duration::from_secs(after));
        assert_eq!([news("a", 0), news("a", 1), news("b", 1), news("a", 2)], [true, false, true, false]);
        repeats.sweep(start + Duration::from_secs(11));
        assert!(!news("a", 12), "it was repeated: the next is counted again");
        assert!(news("b", 12), "forgotten");
        repeats.sweep(start + Duration::from_secs(30));
        repeats.sweep(start + Duration::from_secs(60));
        assert!(news("a", 61));
        (0..2 * MOST).for_each(|number| assert!(news(&number.to_string(), 62)));
        assert!(repeats.known.borrow().len() <= MOST);
    }
}
