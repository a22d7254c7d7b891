//! The beginning of a connection of HTTP/2: the client's preface and its SETTINGS have to come in time.
//!
//! Its streams have limits of their own, and PING finds out who has gone, but both begin only after that (RFC 9113 §3.4). What
//! comes is only counted, and given on as it is.

use std::{
    future::Future,
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Sleep, sleep},
};

/// The preface, and the head of a frame (§4.1).
const PREFACE: usize = 24;
const HEAD: usize = 9;
const SETTINGS: u8 = 4;

/// A connection that fails when it has not begun in time.
pub struct Opening<S> {
    stream: S,
    /// Until it has begun.
    waiting: Option<Pin<Box<Sleep>>>,
    seen: usize,
    /// Of the first frame.
    length: usize,
}

impl<S> Opening<S> {
    pub fn new(stream: S, within: Duration) -> Opening<S> {
        Opening { stream, waiting: Some(Box::pin(sleep(within))), seen: 0, length: 0 }
    }

    fn follow(&mut self, bytes: &[u8]) -> io::Result<()> {
        for byte in bytes {
            match self.seen {
                // Three bytes of length, then the kind.
                24..27 => self.length = self.length << 8 | usize::from(*byte),
                27 if *byte != SETTINGS => {
                    return Err(io::Error::new(io::ErrorKind::InvalidData, "the first frame is not SETTINGS"));
                }
                _ => {}
            }
            self.seen += 1;
            if self.seen >= PREFACE + HEAD + self.length {
                self.waiting = None;
                break;
            }
        }
        Ok(())
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Opening<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(cx, buffer);
        if self.waiting.is_some() {
            self.follow(&buffer.filled()[before..])?;
        }
        // Also when something came: byte by byte is no beginning either.
        if self.waiting.as_mut().is_some_and(|waiting| waiting.as_mut().poll(cx).is_ready()) {
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "no SETTINGS came in time")));
        }
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Opening<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
