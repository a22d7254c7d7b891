//! The thread that writes the access log, and what it loses.

use super::{append, shown};
use std::{
    fs::File,
    io::{self, Write},
    os::fd::AsFd,
    path::{Path, PathBuf},
    sync::{
        atomic::{AtomicU64, Ordering},
        mpsc::{Receiver, SyncSender},
    },
};

pub enum Item {
    /// With its line feed.
    Line(Vec<u8>),
    Reopen,
    /// Answers once all before it is written.
    Flush(SyncSender<()>),
}

/// All that waits goes out together, up to about this many bytes.
const BATCH: usize = 64 << 10;

pub struct Out {
    to: Box<dyn Write + Send>,
    path: Option<PathBuf>,
    /// The last write ended within a line.
    torn: bool,
}

impl Out {
    pub fn stdout() -> io::Result<Out> {
        // Not `io::stdout()`, which buffers what is no whole line.
        let stdout = io::stdout().as_fd().try_clone_to_owned()?;
        Ok(Out { to: Box::new(File::from(stdout)), path: None, torn: false })
    }

    pub fn file(path: &Path) -> io::Result<Out> {
        Ok(Out { to: Box::new(append(path)?), path: Some(path.to_owned()), torn: false })
    }

    fn reopen(&mut self) {
        let Some(path) = &self.path else { return };
        match append(path) {
            Ok(file) => (self.to, self.torn) = (Box::new(file), false),
            Err(error) => tracing::error!(file = %path.display(), %error, "can't reopen the access log"),
        }
    }

    /// Writes lines; gives how many are lost. Purposefully without a buffer (`BufWriter`, `LineWriter`), which keeps what it
    /// could not write and would write it again.
    fn write(&mut self, lines: &[u8]) -> usize {
        if self.torn {
            if self.to.write_all(b"\n").is_err() {
                return count(lines);
            }
            self.torn = false;
        }
        let mut left = lines;
        while !left.is_empty() {
            match self.to.write(left) {
                Ok(0) => break,
                Ok(written) => left = &left[written..],
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => break,
            }
        }
        let written = &lines[..lines.len() - left.len()];
        self.torn = written.last().map_or(self.torn, |byte| *byte != b'\n');
        let flushed = self.to.flush().is_ok();
        if flushed { count(left) } else { count(lines) }
    }
}

fn count(lines: &[u8]) -> usize {
    memchr::memchr_iter(b'\n', lines).count()
}

pub fn write_lines(mut out: Out, items: &Receiver<Item>, lost: &AtomicU64) {
    let mut batch = Vec::with_capacity(BATCH);
    let mut failing = false;
    while let Ok(item) = items.recv() {
        let mut next = Some(item);
        while let Some(Item::Line(line)) = next {
            batch.extend_from_slice(&line);
            next = if batch.len() < BATCH { items.try_recv().ok() } else { None };
        }
        let missed = if batch.is_empty() { 0 } else { out.write(&batch) };
        lost.fetch_add(missed as u64, Ordering::Relaxed);
        // Once when it begins: a full disk must not fill another with complaints.
        if missed > 0 && !failing {
            tracing::error!(to = shown(out.path.as_ref()), lines = missed, "access log lines are being lost");
        }
        failing = if batch.is_empty() { failing } else { missed > 0 };
        batch.clear();
        match next {
            Some(Item::Reopen) => out.reopen(),
            Some(Item::Flush(done)) => {
                let _ = done.send(());
            }
            Some(Item::Line(_)) | None => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};

    /// Takes so many bytes of each write, and fails where that is none.
    struct Disk {
        room: Vec<usize>,
        holds: Arc<Mutex<Vec<u8>>>,
    }

    impl Write for Disk {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let taken = bytes.len().min(self.room.remove(0));
            self.holds.lock().expect("a lock").extend_from_slice(&bytes[..taken]);
            if taken == 0 { Err(io::ErrorKind::StorageFull.into()) } else { Ok(taken) }
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_torn_line_is_ended_once() {
        let holds = Arc::<Mutex<Vec<u8>>>::default();
        let disk = Disk { room: vec![2, 0, 1, 0, 9], holds: holds.clone() };
        let mut out = Out { to: Box::new(disk), path: None, torn: false };
        assert_eq!([b"one\n", b"two\n", b"six\n"].map(|line| out.write(line)), [1, 1, 0]);
        assert_eq!(String::from_utf8_lossy(&holds.lock().expect("a lock")), "on\nsix\n");
    }
}
