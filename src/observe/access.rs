//! The access log: one JSON line an exchange, written by a thread of its own.
//!
//! A worker formats its line and hands it over; when the thread can't keep up (a full disk, a stopped terminal) lines are
//! dropped and counted, and no exchange waits. Values are JSON strings, so no client can start a line of its own.

use std::{
    fs::OpenOptions,
    io::{self, BufWriter, Write},
    net::IpAddr,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc::{Receiver, SyncSender, TryRecvError, sync_channel},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// Lines that may wait for the writer.
const QUEUE: usize = 16_384;

#[derive(Clone)]
pub struct AccessLog {
    lines: SyncSender<Vec<u8>>,
    dropped: Arc<AtomicU64>,
    form: Form,
}

/// How a line is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    Json,
    /// For people, in development.
    Readable,
}

/// One exchange.
pub struct Line<'a> {
    pub id: &'a str,
    pub method: &'a str,
    pub host: &'a str,
    pub path: &'a str,
    pub status: u16,
    pub route: &'a str,
    pub client: IpAddr,
    pub bytes: u64,
    pub duration: Duration,
    /// The word for what failed.
    pub failure: Option<&'a str>,
    pub generation: u64,
}

impl AccessLog {
    pub fn to_stdout(form: Form) -> io::Result<AccessLog> {
        AccessLog::to(io::stdout(), form)
    }

    /// Appends to a file.
    pub fn to_file(path: &Path) -> io::Result<AccessLog> {
        AccessLog::to(OpenOptions::new().create(true).append(true).open(path)?, Form::Json)
    }

    fn to(out: impl Write + Send + 'static, form: Form) -> io::Result<AccessLog> {
        let (lines, received) = sync_channel(QUEUE);
        let dropped = Arc::new(AtomicU64::new(0));
        let counted = dropped.clone();
        std::thread::Builder::new().name("access-log".into()).spawn(move || write_lines(out, &received, &counted))?;
        Ok(AccessLog { lines, dropped, form })
    }

    pub fn write(&self, line: &Line<'_>) {
        let mut text = match self.form {
            Form::Json => line.json(),
            Form::Readable => line.readable(),
        };
        text.push('\n');
        if self.lines.try_send(text.into_bytes()).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Line<'_> {
    fn json(&self) -> String {
        let time = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64());
        let value = serde_json::json!({
            "time": (time * 1000.0).round() / 1000.0,
            "id": self.id,
            "client": self.client,
            "method": self.method,
            "host": self.host,
            "path": self.path,
            "status": self.status,
            "route": self.route,
            "bytes": self.bytes,
            "duration_ms": self.milliseconds(),
            "failure": self.failure,
            "generation": self.generation,
        });
        value.to_string()
    }

    /// A normalised path holds no control characters, and a route's name is the operator's.
    fn readable(&self) -> String {
        let Line { status, method, path, .. } = self;
        let route = if self.route.is_empty() { "no route" } else { self.route };
        let failure = self.failure.map(|failure| format!("  ({failure})")).unwrap_or_default();
        format!("{status} {method:<6} {path}  [{route}]  {} ms{failure}", self.milliseconds())
    }

    fn milliseconds(&self) -> f64 {
        (self.duration.as_secs_f64() * 1e6).round() / 1e3
    }
}

fn write_lines(out: impl Write, lines: &Receiver<Vec<u8>>, dropped: &AtomicU64) {
    let mut out = BufWriter::with_capacity(64 << 10, out);
    let mut reported = 0;
    while let Ok(line) = lines.recv() {
        let mut next = Ok(line);
        // All that waits goes out in one write.
        while let Ok(line) = next {
            if out.write_all(&line).is_err() {
                dropped.fetch_add(1, Ordering::Relaxed);
            }
            next = lines.try_recv();
        }
        let ended = matches!(next, Err(TryRecvError::Disconnected));
        let _ = out.flush();
        let lost = dropped.load(Ordering::Relaxed);
        if lost > reported {
            tracing::warn!(lines = lost - reported, "access log lines were dropped");
            reported = lost;
        }
        if ended {
            return;
        }
    }
}
