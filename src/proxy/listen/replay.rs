//! Which HTTP a plain connection speaks, told by its first bytes without losing any.
//!
//! HTTP/2 with prior knowledge begins with a preface that is no request of HTTP/1.1 (RFC 9113 §3.4). One look a connection: nearly
//! always the first segment decides it, and the socket is served as it is. Only where a part of the preface came are bytes
//! taken out, and given back by [`Replayed`].

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf},
    net::TcpStream,
};

const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

pub enum Spoken {
    Http1(TcpStream),
    Http2(TcpStream),
    /// The same with bytes that were taken out.
    Late(Replayed, bool),
}

/// Waits for the first bytes.
///
/// # Errors
/// What reading ended with. An end before the first byte is HTTP/1.1, which deals with it.
pub async fn spoken(mut stream: TcpStream) -> io::Result<Spoken> {
    let mut first = [0; PREFACE.len()];
    let mut length = stream.peek(&mut first).await?;
    if length == PREFACE.len() && first == *PREFACE {
        return Ok(Spoken::Http2(stream));
    }
    if length == 0 || !PREFACE.starts_with(&first[..length]) {
        return Ok(Spoken::Http1(stream));
    }
    stream.read_exact(&mut first[..length]).await?;
    while length < PREFACE.len() && PREFACE.starts_with(&first[..length]) {
        match stream.read(&mut first[length..]).await? {
            0 => break,
            more => length += more,
        }
    }
    Ok(Spoken::Late(Replayed { first, at: 0, length, stream }, first == *PREFACE))
}

/// A connection whose first bytes are read again.
pub struct Replayed {
    first: [u8; PREFACE.len()],
    at: usize,
    length: usize,
    stream: TcpStream,
}

impl AsyncRead for Replayed {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.at == self.length {
            return Pin::new(&mut self.stream).poll_read(cx, buffer);
        }
        let count = buffer.remaining().min(self.length - self.at);
        buffer.put_slice(&self.first[self.at..self.at + count]);
        self.at += count;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Replayed {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
