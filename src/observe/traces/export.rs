//! The thread that exports: takes what exchanges recorded, makes batches of it and posts them.
//!
//! It may block, since nobody waits for it. A batch that the collector doesn't take is lost after the exporter's own few
//! retries; the log says so once when that begins.

use super::{Counts, Destination, Span};
use opentelemetry::{
    InstrumentationScope, KeyValue,
    trace::{SpanContext, SpanId, Status, TraceFlags, TraceId, TraceState},
};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::{
    Resource,
    trace::{SpanData, SpanEvents, SpanExporter as _, SpanLinks},
};
use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
        mpsc::{Receiver, RecvTimeoutError, SyncSender},
    },
    task::{Context, Poll, Wake, Waker},
    thread::Thread,
    time::{Duration, Instant, SystemTime},
};

/// Spans of one request to the collector: the SDK's default.
const BATCH: usize = 512;
/// How long spans wait for company. The SDK's 5 s make no batch smaller on a busy gateway, and a quiet one's operator waits.
const DELAY: Duration = Duration::from_secs(1);
/// For one batch, retries included.
const TIMEOUT: Duration = Duration::from_secs(5);

pub enum Item {
    Spans(Spans),
    Flush(SyncSender<()>),
}

/// Of one exchange.
pub struct Spans {
    pub trace: u128,
    pub clock: (Instant, SystemTime),
    pub spans: Vec<Span>,
}

pub fn exporter(to: Destination) -> Result<SpanExporter, String> {
    let mut exporter = SpanExporter::builder()
        .with_http()
        .with_protocol(Protocol::HttpBinary)
        .with_endpoint(to.endpoint)
        .with_timeout(TIMEOUT)
        .with_headers(to.headers.into_iter().collect())
        .build()
        .map_err(|error| error.to_string())?;
    let resource = Resource::builder()
        .with_service_name(to.service_name)
        .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")));
    exporter.set_resource(&resource.build());
    Ok(exporter)
}

/// Until the last sender is gone.
pub fn run(exporter: &SpanExporter, items: &Receiver<Item>, waiting: &AtomicUsize, counts: &Counts) {
    let mut exporting = Exporting { exporter, waiting, counts, scope: scope(), batch: Vec::new(), failing: false };
    let mut since = Instant::now();
    loop {
        let item = if exporting.batch.is_empty() {
            items.recv().map_err(|_| RecvTimeoutError::Disconnected)
        } else {
            items.recv_timeout(DELAY.saturating_sub(since.elapsed()))
        };
        match item {
            Ok(Item::Spans(spans)) => {
                if exporting.batch.is_empty() {
                    since = Instant::now();
                }
                exporting.add(spans);
                if exporting.batch.len() >= BATCH {
                    exporting.export();
                }
            }
            Ok(Item::Flush(done)) => {
                exporting.export();
                let _ = done.send(());
            }
            Err(RecvTimeoutError::Timeout) => exporting.export(),
            Err(RecvTimeoutError::Disconnected) => return exporting.export(),
        }
    }
}

fn scope() -> InstrumentationScope {
    InstrumentationScope::builder("gatewright").with_version(env!("CARGO_PKG_VERSION")).build()
}

struct Exporting<'e> {
    exporter: &'e SpanExporter,
    waiting: &'e AtomicUsize,
    counts: &'e Counts,
    scope: InstrumentationScope,
    batch: Vec<SpanData>,
    failing: bool,
}

impl Exporting<'_> {
    fn add(&mut self, Spans { trace, clock, spans }: Spans) {
        self.batch.extend(spans.into_iter().map(|span| data(trace, clock, span, &self.scope)));
    }

    fn export(&mut self) {
        let batch = std::mem::take(&mut self.batch);
        let count = batch.len();
        if count == 0 {
            return;
        }
        let result = block_on(self.exporter.export(batch));
        self.waiting.fetch_sub(count, Relaxed);
        match &result {
            Ok(()) => self.counts.exported.fetch_add(count as u64, Relaxed),
            Err(_) => self.counts.lost.fetch_add(count as u64, Relaxed),
        };
        if let (Err(error), false) = (&result, self.failing) {
            tracing::error!(%error, spans = count, "spans are being lost: the collector does not take them");
        }
        self.failing = result.is_err();
    }
}

/// The span as the exporter wants it.
fn data(trace: u128, (instant, time): (Instant, SystemTime), span: Span, scope: &InstrumentationScope) -> SpanData {
    let at = |moment: Instant| match moment.checked_duration_since(instant) {
        Some(later) => time + later,
        None => time - instant.duration_since(moment),
    };
    let mut attributes = span.attributes;
    let status = match span.error {
        None => Status::Unset,
        Some(error) => {
            attributes.push(KeyValue::new("error.type", error));
            Status::error("")
        }
    };
    if span.runs > 1 {
        attributes.push(KeyValue::new("gatewright.runs", i64::from(span.runs)));
    }
    let context = |id: u64, remote| {
        SpanContext::new(TraceId::from(trace), SpanId::from(id), TraceFlags::SAMPLED, remote, TraceState::NONE)
    };
    SpanData {
        span_context: context(span.id, false),
        parent_span_id: SpanId::from(span.parent),
        parent_span_is_remote: span.remote,
        span_kind: span.kind,
        name: span.name,
        start_time: at(span.begun),
        end_time: at(span.ended),
        attributes,
        dropped_attributes_count: 0,
        events: SpanEvents::default(),
        links: SpanLinks::default(),
        status,
        instrumentation_scope: scope.clone(),
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Purposefully not a runtime: the exporter's client blocks, and refuses to within one.
fn block_on<T>(future: impl Future<Output = T>) -> T {
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut context = Context::from_waker(&waker);
    let mut future = std::pin::pin!(future);
    loop {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(value) => return value,
            Poll::Pending => std::thread::park(),
        }
    }
}
