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
    pub fn to_stdout() -> io::Result<AccessLog> {
        AccessLog::to(io::stdout())
    }

    /// Appends to a file.
    pub fn to_file(path: &Path) -> io::Result<AccessLog> {
        AccessLog::to(OpenOptions::new().create(true).append(true).open(path)?)
    }

    fn to(out: impl Write + Send + 'static) -> io::Result<AccessLog> {
        let (lines, received) = sync_channel(QUEUE);
        let dropped = Arc::new(AtomicU64::new(0));
        let counted = dropped.clone();
        std::thread::Builder::new().name("access-log".into()).spawn(move || write_lines(out, &received, &counted))?;
        Ok(AccessLog { lines, dropped })
    }

    pub fn write(&self, line: &Line<'_>) {
        let time = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64());
        let text = serde_json::json!({
            "time": (time * 1000.0).round() / 1000.0,
            "id": line.id,
            "client": line.client,
            "method": line.method,
            "host": line.host,
            "path": line.path,
            "status": line.status,
            "route": line.route,
            "bytes": line.bytes,
            "duration_ms": (line.duration.as_secs_f64() * 1e6).round() / 1e3,
            "failure": line.failure,
            "generation": line.generation,
        });
        let mut bytes = text.to_string().into_bytes();
        bytes.push(b'\n');
        if self.lines.try_send(bytes).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
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
