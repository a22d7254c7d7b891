//! A stream of HTTP/2 that an extended CONNECT has opened (RFC 8441), as bytes in both directions.

use bytes::{Buf, Bytes};
use h2::{Reason, RecvStream, SendStream};
use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What is asked of the other end's window at once.
const PIECE: usize = 16 * 1024;

/// An open stream, with what it is counted by for as long as it lasts.
#[derive(Debug)]
pub struct Stream<H> {
    sending: SendStream<Bytes>,
    receiving: RecvStream,
    /// Bytes that came and were not asked for.
    read: Bytes,
    /// Whether the end was said.
    ended: bool,
    _held: H,
}

impl<H> Stream<H> {
    pub fn new(sending: SendStream<Bytes>, receiving: RecvStream, held: H) -> Stream<H> {
        Stream { sending, receiving, read: Bytes::new(), ended: false, _held: held }
    }

    fn end(&mut self) -> Result<(), h2::Error> {
        match std::mem::replace(&mut self.ended, true) {
            true => Ok(()),
            false => self.sending.send_data(Bytes::new(), true),
        }
    }
}

impl<H: Unpin> AsyncRead for Stream<H> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        while self.read.is_empty() {
            match ready!(self.receiving.poll_data(cx)) {
                Some(Ok(data)) => self.read = data,
                Some(Err(error)) => {
                    return Poll::Ready(match error.reason() {
                        // It has gone, and says no more.
                        Some(Reason::NO_ERROR | Reason::CANCEL) => Ok(()),
                        _ => Err(io::Error::other(error)),
                    });
                }
                None => return Poll::Ready(Ok(())),
            }
        }
        let count = self.read.len().min(buffer.remaining());
        buffer.put_slice(&self.read[..count]);
        self.read.advance(count);
        // A stream that has ended meanwhile has no window any more.
        let _ = self.receiving.flow_control().release_capacity(count);
        Poll::Ready(Ok(()))
    }
}

impl<H: Unpin> AsyncWrite for Stream<H> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if bytes.is_empty() {
            return Poll::Ready(Ok(0));
        }
        if self.ended || self.sending.poll_reset(cx).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        self.sending.reserve_capacity(bytes.len().min(PIECE));
        while self.sending.capacity() == 0 {
            match ready!(self.sending.poll_capacity(cx)) {
                Some(Ok(_)) => {}
                Some(Err(error)) => return Poll::Ready(Err(io::Error::other(error))),
                None => return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
            }
        }
        let count = self.sending.capacity().min(bytes.len());
        let sent = self.sending.send_data(Bytes::copy_from_slice(&bytes[..count]), false);
        Poll::Ready(sent.map(|()| count).map_err(io::Error::other))
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // The connection's task does.
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.end().map_err(io::Error::other))
    }
}

impl<H> Drop for Stream<H> {
    fn drop(&mut self) {
        // Without it the other end would be told of a mistake.
        let _ = self.end();
    }
}
