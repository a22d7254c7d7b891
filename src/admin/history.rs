//! The last attempts at a new generation: when, for which cause, what had changed, how it ended and what was said about it.
//!
//! Kept by the process and shown at `/api/v1/generations`; bounded in number and in text, so that files which are broken for
//! weeks cost nothing.

use serde_json::{Value, json};
use std::{
    collections::VecDeque,
    path::PathBuf,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// Attempts that are remembered.
const KEPT: usize = 20;
/// Bytes of diagnostics that are kept of one, and files that are named.
const MAX_TEXT: usize = 16 << 10;
const MAX_FILES: usize = 20;

/// Why another generation was built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    Start,
    /// Files were saved.
    Files,
    /// SIGHUP.
    Signal,
    /// `POST /api/v1/reload`.
    Api,
}

impl Cause {
    const fn name(self) -> &'static str {
        match self {
            Cause::Start => "start",
            Cause::Files => "files",
            Cause::Signal => "signal",
            Cause::Api => "api",
        }
    }
}

#[derive(Debug)]
pub struct Attempt {
    pub generation: u64,
    pub cause: Cause,
    pub took: Duration,
    /// Files that hold something else than they did for the attempt before.
    pub changed: Vec<PathBuf>,
    pub is_serving: bool,
    /// Errors when it was refused, else warnings; empty when there were none.
    pub diagnostics: String,
}

#[derive(Clone, Debug, Default)]
pub struct History {
    /// The newest first.
    attempts: VecDeque<Arc<(Duration, Attempt)>>,
    current: Option<(u64, Duration)>,
    previous: Option<(u64, Duration)>,
}

impl History {
    pub fn add(&mut self, mut attempt: Attempt) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        if attempt.is_serving {
            self.previous = self.current.replace((attempt.generation, now));
        }
        cut(&mut attempt.diagnostics);
        attempt.changed.truncate(MAX_FILES);
        self.attempts.truncate(KEPT - 1);
        self.attempts.push_front(Arc::new((now, attempt)));
    }

    /// Times are seconds since 1970, as in the access log.
    pub fn json(&self) -> Value {
        let since = |(generation, at): (u64, Duration)| json!({ "generation": generation, "since": seconds(at) });
        json!({
            "current": self.current.map(since),
            "previous": self.previous.map(since),
            "attempts": self.attempts.iter().map(|attempt| shown(attempt.0, &attempt.1)).collect::<Vec<_>>(),
        })
    }
}

fn shown(at: Duration, attempt: &Attempt) -> Value {
    json!({
        "generation": attempt.generation,
        "at": seconds(at),
        "duration_ms": attempt.took.as_millis() as u64,
        "cause": attempt.cause.name(),
        "result": if attempt.is_serving { "serving" } else { "refused" },
        "changed": attempt.changed.iter().map(|path| path.display().to_string()).collect::<Vec<_>>(),
        "diagnostics": (!attempt.diagnostics.is_empty()).then_some(&attempt.diagnostics),
    })
}

fn seconds(time: Duration) -> f64 {
    time.as_millis() as f64 / 1e3
}

fn cut(text: &mut String) {
    if text.len() > MAX_TEXT {
        let end = (0..=MAX_TEXT).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        text.truncate(end);
        text.push_str("\n… and more");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attempt(generation: u64, is_serving: bool) -> Attempt {
        let (took, changed, diagnostics) = (Duration::from_millis(3), Vec::new(), "é".repeat(MAX_TEXT));
        Attempt { generation, cause: Cause::Files, took, changed, is_serving, diagnostics }
    }

    #[test]
    fn what_is_kept_is_bounded_and_the_newest_is_first() {
        let mut history = History::default();
        (1..=50).for_each(|number| history.add(attempt(number, number % 7 == 0)));
        let json = history.json();
        let attempts = json["attempts"].as_array().expect("a list");
        assert_eq!(
            (attempts.len(), &attempts[0]["generation"], &attempts[1]["result"]),
            (KEPT, &json!(50), &json!("serving"))
        );
        assert_eq!((&json["current"]["generation"], &json["previous"]["generation"]), (&json!(49), &json!(42)));
        let text = attempts[0]["diagnostics"].as_str().expect("a text");
        assert!(text.len() < MAX_TEXT + 20 && text.ends_with("é\n… and more"), "{}", text.len());
    }
}
