//! What the gateway under test logs, kept for the test to look at.
//!
//! A subscriber of `tracing` that is the thread's own while the cases of a file run. It keeps what operators would see (`info` and
//! above) and every line of scripts; spans are not used here.

use serde_json::{Map, Value, json};
use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tracing::{
    Event, Level, Metadata, Subscriber,
    field::{Field, Visit},
    span,
};

/// More than this is not kept: a script that logs in a loop must not fill the memory.
const MOST: usize = 10_000;

#[derive(Clone, Default)]
pub struct Logs(Arc<Mutex<Vec<Value>>>);

impl Logs {
    fn lines(&self) -> MutexGuard<'_, Vec<Value>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn clear(&self) {
        self.lines().clear();
    }

    pub fn all(&self) -> Vec<Value> {
        self.lines().clone()
    }
}

impl Subscriber for Logs {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "script"
            || (metadata.target().starts_with("gatewright") && *metadata.level() <= Level::INFO)
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut entries = Entries(Map::new());
        entries.0.insert("level".to_owned(), json!(event.metadata().level().as_str().to_ascii_lowercase()));
        event.record(&mut entries);
        let mut lines = self.lines();
        if lines.len() < MOST {
            lines.push(Value::Object(entries.0));
        }
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

struct Entries(Map<String, Value>);

impl Visit for Entries {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.0.insert(field.name().to_owned(), json!(format!("{value:?}")));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        // What a script adds to its line comes as the text of a JSON object.
        let fields = (field.name() == "fields").then(|| serde_json::from_str(value).ok()).flatten();
        self.0.insert(field.name().to_owned(), fields.unwrap_or_else(|| json!(value)));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.0.insert(field.name().to_owned(), json!(value));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.0.insert(field.name().to_owned(), json!(value));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.0.insert(field.name().to_owned(), json!(value));
    }
}
