//! Traces: the spans of an exchange, and their way to a collector.
//!
//! An exchange that is recorded has a [`Recording`] that gathers plain values; one that isn't has none, which costs it one
//! branch. When its record closes the spans go to a thread of their own, which speaks OTLP. Nothing here ever waits: what
//! does not fit into the queue is lost and counted. Deliberately absent: OpenTelemetry's own tracer and its context, which
//! live in globals and thread locals and lock on the way.

mod export;
mod recording;

pub use opentelemetry::{KeyValue, Value, trace::SpanKind as Kind};
pub use recording::{Recording, Span, SpanInProgress};

use super::send_by;
use export::{Item, Spans, run};
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
        mpsc::{SyncSender, sync_channel},
    },
    time::Instant,
};

/// Spans that may wait for the collector: some seconds of a busy gateway, and about ten megabytes.
const QUEUE: usize = 16_384;

/// What became of spans.
#[derive(Debug, Default)]
pub struct Counts {
    pub exported: AtomicU64,
    /// Those that did not fit into the queue, and those that the collector did not take.
    pub lost: AtomicU64,
}

/// Where spans go, and of which traces.
pub struct Destination {
    /// The URL that they are posted to.
    pub endpoint: String,
    /// The share of the traces that begin here which is recorded, 0 to 1.
    pub sample: f64,
    pub service_name: String,
    /// Sent with each batch. Purposefully without `Debug`: they may hold a token.
    pub headers: Vec<(String, String)>,
}

/// The way to the collector.
#[derive(Clone)]
pub struct Traces {
    items: SyncSender<Item>,
    /// Spans that wait.
    waiting: Arc<AtomicUsize>,
    counts: Arc<Counts>,
    /// A trace is recorded when the half of its id that is random is below.
    bound: u64,
}

impl Traces {
    /// Starts the thread that exports.
    ///
    /// # Errors
    /// The thread, or the client in it, can't be made.
    pub fn start(to: Destination, counts: Arc<Counts>) -> Result<Traces, String> {
        let (items, received) = sync_channel(QUEUE);
        let waiting = Arc::new(AtomicUsize::new(0));
        let bound = bound(to.sample);
        let exporter = export::exporter(to)?;
        let (left, counted) = (waiting.clone(), counts.clone());
        let thread = std::thread::Builder::new().name("traces".into());
        thread.spawn(move || run(&exporter, &received, &left, &counted)).map_err(|error| error.to_string())?;
        Ok(Traces { items, waiting, counts, bound })
    }

    /// Whether a trace that begins here is recorded: OpenTelemetry's `TraceIdRatioBased`, so that all who see the id and have
    /// the same share decide alike.
    pub fn samples(&self, trace: u128) -> bool {
        (trace as u64) >> 1 < self.bound
    }

    /// Hands over what has been recorded so far.
    pub fn send(&self, recording: &Recording) {
        let (spans, dropped) = recording.take();
        let count = spans.len();
        self.counts.lost.fetch_add(dropped, Relaxed);
        if count == 0 {
            return;
        }
        let fits = self.waiting.fetch_add(count, Relaxed) + count <= QUEUE;
        let item = Item::Spans(Spans { trace: recording.trace, clock: recording.clock, spans });
        if !fits || self.items.try_send(item).is_err() {
            self.waiting.fetch_sub(count, Relaxed);
            self.counts.lost.fetch_add(count as u64, Relaxed);
        }
    }

    /// Waits until what was handed over has been exported, but not after `end`.
    pub fn flush(&self, end: Instant) {
        let (done, ended) = sync_channel(1);
        if send_by(&self.items, Item::Flush(done), end) {
            let _ = ended.recv_timeout(end.saturating_duration_since(Instant::now()));
        }
    }
}

/// Of 63 bits.
fn bound(share: f64) -> u64 {
    (share.clamp(0.0, 1.0) * (1_u64 << 63) as f64) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_share_is_that_of_the_ids() {
        assert_eq!((bound(0.0), bound(1.0), bound(0.5)), (0, 1 << 63, 1 << 62));
        let highest = u64::MAX >> 1;
        assert!(highest < bound(1.0) && highest >= bound(0.999_999));
    }
}
