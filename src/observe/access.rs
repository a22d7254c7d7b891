//! The access log: one JSON line an exchange, written by a thread of its own.
//!
//! A worker formats its line and hands it over; when the thread can't keep up (a full disk, a stopped terminal) lines are
//! lost and counted, and no exchange waits. What a line may hold is chosen here once: no header, no cookie, no query, no body.

mod field;
mod writer;

pub use field::{Field, Line};

use super::send_by;
use std::{
    fs::OpenOptions,
    io,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc::{SyncSender, sync_channel},
    },
    time::Instant,
};
use writer::{Item, Out, write_lines};

/// Lines that may wait for the writer.
const QUEUE: usize = 16_384;

#[derive(Clone)]
pub struct AccessLog {
    items: SyncSender<Item>,
    lost: Arc<AtomicU64>,
    form: Arc<Form>,
}

/// What is written.
#[derive(Clone, Debug, PartialEq)]
pub struct Form {
    pub fields: Vec<Field>,
    /// The share of the exchanges, 0 to 1.
    pub sample: f64,
    /// For people, in development.
    pub readable: bool,
}

impl AccessLog {
    /// `lost` counts the lines that are not written.
    ///
    /// # Errors
    /// There is no file descriptor, or no thread, left for it.
    pub fn to_stdout(form: Form, lost: Arc<AtomicU64>) -> io::Result<AccessLog> {
        AccessLog::to(Out::stdout()?, form, lost)
    }

    /// Appends to a file.
    ///
    /// # Errors
    /// It can't be opened or made, or there is no thread left for it.
    pub fn to_file(path: &Path, form: Form, lost: Arc<AtomicU64>) -> io::Result<AccessLog> {
        AccessLog::to(Out::file(path)?, form, lost)
    }

    fn to(out: Out, form: Form, lost: Arc<AtomicU64>) -> io::Result<AccessLog> {
        let (items, received) = sync_channel(QUEUE);
        let counted = lost.clone();
        std::thread::Builder::new().name("access-log".into()).spawn(move || write_lines(out, &received, &counted))?;
        Ok(AccessLog { items, lost, form: Arc::new(form) })
    }

    /// Whether an exchange is written. `random` is asked only where a share of them is.
    pub fn wants(&self, random: impl FnOnce() -> u64) -> bool {
        self.form.sample >= 1.0 || (random() as f64) < self.form.sample * u64::MAX as f64
    }

    /// Whether lines hold this field, where finding it costs something.
    pub fn has(&self, field: Field) -> bool {
        self.form.fields.contains(&field)
    }

    pub fn write(&self, line: &Line<'_>) {
        let text = if self.form.readable { line.readable() } else { line.json(&self.form.fields) };
        if self.items.try_send(Item::Line(text.into_bytes())).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Opens the file anew by its name, after another program has moved it away. Waits when the queue is full.
    pub fn reopen(&self) {
        let _ = self.items.send(Item::Reopen);
    }

    /// Waits until what was handed over has been written, but not after `end`. Says in the program's log when it was not: those
    /// lines are lost.
    pub fn flush(&self, end: Instant) {
        let (done, ended) = sync_channel(1);
        let is_sent = send_by(&self.items, Item::Flush(done), end);
        if !is_sent || ended.recv_timeout(end.saturating_duration_since(Instant::now())).is_err() {
            tracing::error!("access log lines are lost: what they are written to does not take them");
        }
    }
}

fn append(path: &Path) -> io::Result<std::fs::File> {
    OpenOptions::new().create(true).append(true).open(path)
}

/// Where a log is written to, for messages.
fn shown(path: Option<&PathBuf>) -> String {
    path.map_or("standard output".to_owned(), |path| path.display().to_string())
}
