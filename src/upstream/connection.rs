//! One connection to a target: the socket, what was read ahead, and the timer.
//!
//! Reads and writes are polled inside the task of the exchange; nothing here waits on its own.

use std::future::Future;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use crate::timer::Timer;

/// How much is read at once while a head is awaited, and while a body streams.
const READ_HEAD: usize = 8 * 1024;
const READ_BODY: usize = 64 * 1024;

/// The transport.
#[derive(Debug)]
pub enum Io {
    Tcp(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

#[derive(Debug)]
pub struct Connection {
    pub io: Io,
    /// The address that it leads to.
    pub peer: SocketAddr,
    /// Bytes that were read and not yet understood.
    pub input: BytesMut,
    /// The buffer of the last request head, kept for the next.
    pub spare: Vec<u8>,
    pub timer: Timer,
    /// Whether it has carried an exchange before, so that the target may have closed it meanwhile.
    pub reused: bool,
}

impl Connection {
    pub fn new(io: Io, peer: SocketAddr) -> Connection {
        Connection { io, peer, input: BytesMut::new(), spare: Vec::new(), timer: Timer::default(), reused: false }
    }

    /// Whether an idle connection is open and silent. Bytes that nobody asked for, such as the rest of a response that
    /// was longer than it said, condemn it as much as a close.
    pub fn is_quiet(&mut self) -> bool {
        match &mut self.io {
            // Usually no system call: tokio knows that nothing came since the last read.
            Io::Tcp(stream) => matches!(
                stream.try_read(&mut [0; 1]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock
            ),
            // What rustls keeps to itself, such as the session tickets of TLS 1.3 (RFC 8446 §4.6.1), is taken in and no
            // data; anything else that can be read, an alert or an end included, is ready.
            Io::Tls(stream) => {
                let mut cx = Context::from_waker(Waker::noop());
                Pin::new(stream).poll_read(&mut cx, &mut ReadBuf::new(&mut [0; 1])).is_pending()
            }
        }
    }

    /// Reads more into `input` while a head is awaited; 0 is the end.
    pub fn poll_read_head(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        self.poll_read(cx, READ_HEAD)
    }

    /// Reads more into `input` while a body streams; 0 is the end.
    pub fn poll_read_body(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        self.poll_read(cx, READ_BODY)
    }

    fn poll_read(&mut self, cx: &mut Context<'_>, room: usize) -> Poll<io::Result<usize>> {
        if self.input.capacity() - self.input.len() < room / 2 {
            self.input.reserve(room);
        }
        // A `ReadBuf` future keeps no state, so it can be made for each poll; it spares the unsafe code for reading into
        // uninitialised memory.
        match &mut self.io {
            Io::Tcp(stream) => pin!(stream.read_buf(&mut self.input)).poll(cx),
            Io::Tls(stream) => pin!(stream.read_buf(&mut self.input)).poll(cx),
        }
    }

    /// Gives back what the next exchange can make anew.
    pub fn give_up_buffers(&mut self) {
        self.input = BytesMut::new();
        self.spare = Vec::new();
    }

    /// Gives back memory that only a long body needed. Called before the connection rests.
    pub fn shrink(&mut self) {
        if self.input.capacity() > 2 * READ_HEAD {
            self.input = BytesMut::new();
        }
        if self.spare.capacity() > 2 * READ_HEAD {
            self.spare = Vec::new();
        }
    }
}

impl Io {
    /// Writes from the slices in order, as much as the socket takes.
    pub fn poll_write(&mut self, cx: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        match (self, slices) {
            (Io::Tcp(stream), [one]) => Pin::new(stream).poll_write(cx, one),
            (Io::Tcp(stream), many) => Pin::new(stream).poll_write_vectored(cx, many),
            (Io::Tls(stream), many) => Pin::new(stream).poll_write_vectored(cx, many),
        }
    }

    /// Ready once nothing that was written is held back: rustls may have taken more than the socket did.
    pub fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Io::Tcp(_) => Poll::Ready(Ok(())),
            Io::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }
}

impl AsyncRead for Io {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Io::Tcp(stream) => Pin::new(stream).poll_read(cx, buffer),
            Io::Tls(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Io {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Io::poll_write(self.get_mut(), cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Io::poll_write(self.get_mut(), cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Io::poll_flush(self.get_mut(), cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Io::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            Io::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
