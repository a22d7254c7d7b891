//! What an exchange records: spans as plain values, in a cell of its own.
//!
//! A span in progress is a guard: whatever becomes of the future that holds it, its end is when it is dropped. Times are
//! monotonic ones; the time of day is asked once.

use opentelemetry::{KeyValue, Value, trace::SpanKind as Kind};
use std::{
    borrow::Cow,
    cell::{Cell, RefCell},
    rc::Rc,
    time::{Instant, SystemTime},
};

/// An exchange has about five. What scripts make beyond this is dropped, so that no loop of calls fills the queue.
const MAX_SPANS: usize = 256;

/// One that has ended.
#[derive(Debug)]
pub struct Span {
    pub id: u64,
    /// 0: it has none.
    pub parent: u64,
    /// Whether the parent is the caller's.
    pub remote: bool,
    pub kind: Kind,
    pub name: Cow<'static, str>,
    pub begun: Instant,
    pub ended: Instant,
    pub attributes: Vec<KeyValue>,
    /// What failed, in a word; `error.type`.
    pub error: Option<Cow<'static, str>>,
    /// How often what it stands for has run.
    pub runs: u32,
}

/// The spans of one exchange.
#[derive(Debug)]
pub struct Recording {
    pub trace: u128,
    /// The exchange's own span, which is that of the server.
    pub root: u64,
    /// The caller's; 0: the trace begins here.
    pub parent: u64,
    /// The same moment on both clocks.
    pub clock: (Instant, SystemTime),
    state: Cell<u64>,
    spans: RefCell<Vec<Span>>,
    dropped: Cell<u64>,
}

impl Recording {
    /// `random` is what the ids of its spans come from.
    pub fn new(trace: u128, root: u64, parent: u64, random: u64) -> Recording {
        Recording {
            trace,
            root,
            parent,
            clock: (Instant::now(), SystemTime::now()),
            state: Cell::new(random),
            spans: RefCell::new(Vec::with_capacity(8)),
            dropped: Cell::new(0),
        }
    }

    /// Begins a span below `parent`.
    pub fn begin(self: &Rc<Self>, parent: u64, kind: Kind, name: impl Into<Cow<'static, str>>) -> SpanInProgress {
        let begun = Instant::now();
        let (id, name) = (self.id(), name.into());
        let span = Span {
            id,
            parent,
            remote: false,
            kind,
            name,
            begun,
            ended: begun,
            attributes: Vec::new(),
            error: None,
            runs: 1,
        };
        SpanInProgress { recording: self.clone(), span: Some(span) }
    }

    pub fn add(&self, span: Span) {
        let spans = &mut *self.spans.borrow_mut();
        // The server's own always has its place.
        if spans.len() < MAX_SPANS || span.id == self.root {
            spans.push(span);
        } else {
            self.dropped.set(self.dropped.get() + 1);
        }
    }

    /// Begins a span that goes on with the one of the same name, where there is one: pieces of a body are many, and those
    /// that one plugin changes are one span, from the first to the last.
    pub fn go_on(self: &Rc<Self>, parent: u64, kind: Kind, name: String) -> SpanInProgress {
        let spans = &mut *self.spans.borrow_mut();
        match spans.iter().position(|span| span.name == name) {
            Some(at) => {
                let mut span = spans.swap_remove(at);
                span.runs += 1;
                SpanInProgress { recording: self.clone(), span: Some(span) }
            }
            None => self.begin(parent, kind, name),
        }
    }

    /// All that has ended since the last time, and how many had no place.
    pub(super) fn take(&self) -> (Vec<Span>, u64) {
        (self.spans.take(), self.dropped.take())
    }

    /// SplitMix64 (Steele, Lea, Flood 2014). Zero means "none".
    fn id(&self) -> u64 {
        let state = self.state.get().wrapping_add(0x9E37_79B9_7F4A_7C15);
        self.state.set(state);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)).max(1)
    }
}

/// Ends when it is dropped.
#[derive(Debug)]
pub struct SpanInProgress {
    recording: Rc<Recording>,
    span: Option<Span>,
}

impl SpanInProgress {
    pub fn id(&self) -> u64 {
        self.span.as_ref().map_or(0, |span| span.id)
    }

    /// Whether it began before, and has its attributes.
    pub fn goes_on(&self) -> bool {
        self.span.as_ref().is_some_and(|span| span.runs > 1)
    }

    pub fn set(&mut self, name: &'static str, value: impl Into<Value>) {
        if let Some(span) = &mut self.span {
            span.attributes.push(KeyValue::new(name, value));
        }
    }

    pub fn fail(&mut self, what: impl Into<Cow<'static, str>>) {
        if let Some(span) = &mut self.span {
            span.error = Some(what.into());
        }
    }
}

impl Drop for SpanInProgress {
    fn drop(&mut self) {
        if let Some(mut span) = self.span.take() {
            span.ended = Instant::now();
            self.recording.add(span);
        }
    }
}
