//! The program's own log, on standard error: readable on a terminal, JSON otherwise.
//!
//! `GATEWRIGHT_LOG` chooses what is shown (`info` by default; `debug`, `gatewright::proxy=debug`, …). Lines are written by
//! a thread of their own: a terminal that was stopped, or a pipe that nobody reads, must not hold up a worker. When it
//! can't keep up lines are dropped.

use std::{
    io::{self, IsTerminal, Write},
    sync::mpsc::{Receiver, SyncSender, sync_channel},
    time::Duration,
};
use tracing_subscriber::{EnvFilter, fmt::MakeWriter};

/// Lines that may wait for the writer.
const QUEUE: usize = 4096;
/// How long the end of the process waits for lines to be written.
const AT_THE_END: Duration = Duration::from_secs(1);

enum Item {
    Line(Vec<u8>),
    Flush(SyncSender<()>),
}

/// Writes what waits when it is dropped.
pub struct Log(Option<SyncSender<Item>>);

/// `readable`: plain lines even where there is no terminal, as `gatewright dev` wants them.
pub fn start(readable: bool) -> Log {
    let (items, received) = sync_channel(QUEUE);
    if std::thread::Builder::new().name("log".into()).spawn(move || write_lines(&received)).is_err() {
        return Log(None);
    }
    let filter = EnvFilter::try_from_env("GATEWRIGHT_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(Lines(items.clone()));
    let terminal = io::stderr().is_terminal();
    // Only the first subscriber of a process counts: tests start several gateways.
    let _ = if readable || terminal {
        builder.with_ansi(terminal).with_target(false).try_init()
    } else {
        builder.json().flatten_event(true).try_init()
    };
    Log(Some(items))
}

impl Drop for Log {
    fn drop(&mut self) {
        let Some(items) = &self.0 else { return };
        let (written, done) = sync_channel(1);
        if items.try_send(Item::Flush(written)).is_ok() {
            let _ = done.recv_timeout(AT_THE_END);
        }
    }
}

fn write_lines(items: &Receiver<Item>) {
    let mut out = io::stderr();
    for item in items {
        match item {
            Item::Line(line) => {
                let _ = out.write_all(&line);
            }
            Item::Flush(done) => {
                let _ = done.send(());
            }
        }
    }
}

/// Hands each event on as one line.
struct Lines(SyncSender<Item>);

struct Line<'a> {
    items: &'a SyncSender<Item>,
    text: Vec<u8>,
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Line<'a> {
        Line { items: &self.0, text: Vec::with_capacity(256) }
    }
}

impl Write for Line<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.text.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Line<'_> {
    fn drop(&mut self) {
        if !self.text.is_empty() {
            let _ = self.items.try_send(Item::Line(std::mem::take(&mut self.text)));
        }
    }
}
