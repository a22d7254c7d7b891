//! The sending half of an exchange: the request head and body on their way to the socket.
//!
//! The head and whatever of the body is at hand leave in one write. Small pieces are copied behind the head; a large one
//! is written from where it is. What was gathered first is kept until more must be gathered, so that a request that fails
//! on a stale connection can begin again on a fresh one. Never holds more than one gathering: the socket's pace is the
//! client's pace.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::HeaderMap;
use http_body::Body as _;

use super::connection::Io;
use super::framing::RequestFraming;
use crate::http::{Body, BodyError};
use crate::http1::chunked::{CHUNK_END, CHUNK_END_AND_LAST_CHUNK, LAST_CHUNK, write_size, write_trailers};
use crate::http1::gathered::Gathered;

/// Why sending stopped.
#[derive(Debug)]
pub enum SendError {
    /// The socket failed; the target may have answered all the same.
    Socket(io::Error),
    /// The body failed.
    Body(BodyError),
    /// The body gave more or fewer bytes than it had announced.
    Length,
}

/// What sending waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WaitsFor {
    Socket,
    Body,
    Nothing,
}

#[derive(Debug)]
pub struct Sender {
    /// The head, and what of the body goes next.
    gathered: Gathered,
    /// Fields that go behind a chunked body.
    trailers: Option<Box<HeaderMap>>,
    body: Body,
    framing: RequestFraming,
    /// Whether `gathered` holds the end of the request.
    complete: bool,
    /// Whether something was gathered and then given up for more.
    forgotten: bool,
    /// Whether something was written that TLS may still hold.
    held_back: bool,
    /// Whether the body has given a byte.
    touched: bool,
    pub sent: bool,
    pub waits_for: WaitsFor,
    /// Set with every write; the reader of it clears it.
    pub progressed: bool,
}

impl Sender {
    /// Sends `head`, then `body` framed so.
    pub fn new(head: Vec<u8>, body: Body, framing: RequestFraming) -> Sender {
        Sender {
            gathered: Gathered::new(head),
            trailers: None,
            body,
            framing,
            complete: matches!(framing, RequestFraming::None | RequestFraming::Length(0)),
            forgotten: false,
            held_back: false,
            touched: false,
            sent: false,
            waits_for: WaitsFor::Nothing,
            progressed: false,
        }
    }

    /// Writes on. Ready when the request has left, or can't.
    pub fn poll(&mut self, cx: &mut Context<'_>, io: &mut Io) -> Poll<Result<(), SendError>> {
        loop {
            let mut starved = false;
            while !self.complete && !self.gathered.is_full() {
                match Pin::new(&mut self.body).poll_frame(cx) {
                    Poll::Ready(Some(Ok(frame))) => {
                        match frame.into_data() {
                            Ok(data) => self.gather(data)?,
                            // They come last; where a length was announced there is no place for them.
                            Err(frame) => self.trailers = frame.into_trailers().ok().map(Box::new),
                        }
                    }
                    Poll::Ready(Some(Err(error))) => {
                        return Poll::Ready(Err(SendError::Body(error)));
                    }
                    Poll::Ready(None) => self.complete()?,
                    Poll::Pending => {
                        starved = true;
                        break;
                    }
                }
            }
            while self.gathered.unwritten() > 0 {
                self.waits_for = WaitsFor::Socket;
                let count = ready!(self.poll_write(cx, io)).map_err(SendError::Socket)?;
                if count == 0 {
                    let error = io::ErrorKind::WriteZero.into();
                    return Poll::Ready(Err(SendError::Socket(error)));
                }
                self.gathered.wrote(count);
                self.held_back = true;
                self.sent = true;
                self.progressed = true;
            }
            if self.held_back {
                self.waits_for = WaitsFor::Socket;
                ready!(io.poll_flush(cx)).map_err(SendError::Socket)?;
                self.held_back = false;
            }
            if self.complete {
                self.waits_for = WaitsFor::Nothing;
                return Poll::Ready(Ok(()));
            }
            if starved {
                self.waits_for = WaitsFor::Body;
                return Poll::Pending;
            }
            self.forget();
        }
    }

    /// Begins again from the first byte, for another connection; false when that byte is gone.
    pub fn rewind(&mut self) -> bool {
        if self.forgotten {
            return false;
        }
        self.gathered.rewind();
        self.held_back = false;
        self.sent = false;
        true
    }

    /// Whether body bytes were taken that only this sender has.
    pub fn has_touched_body(&self) -> bool {
        self.touched
    }

    /// The body, as far as it was not sent.
    pub fn into_body(self) -> Body {
        self.body
    }

    /// The buffer, once nothing more is to be sent.
    pub fn take_buffer(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.gathered.bytes)
    }

    fn forget(&mut self) {
        self.gathered.clear();
        self.forgotten = true;
    }

    fn gather(&mut self, data: Bytes) -> Result<(), SendError> {
        if data.is_empty() {
            return Ok(());
        }
        if self.gathered.is_written() {
            self.forget();
        }
        self.touched = true;
        let chunked = match &mut self.framing {
            RequestFraming::Chunked => {
                write_size(&mut self.gathered.bytes, data.len());
                true
            }
            RequestFraming::Length(left) => {
                // SECURITY: a byte too many would be read as the start of another request.
                *left = left.checked_sub(data.len() as u64).ok_or(SendError::Length)?;
                false
            }
            RequestFraming::None => return Err(SendError::Length),
        };
        let end = if chunked { CHUNK_END } else { b"" };
        self.gathered.add(data, end);
        // Asked here, so that the end leaves with the last piece.
        if self.body.is_end_stream() {
            self.complete()?;
        }
        Ok(())
    }

    fn complete(&mut self) -> Result<(), SendError> {
        match self.framing {
            RequestFraming::None | RequestFraming::Length(0) => {}
            RequestFraming::Length(_) => return Err(SendError::Length),
            RequestFraming::Chunked if !self.gathered.has_piece() => {
                if self.gathered.is_written() {
                    self.forget();
                }
                match &self.trailers {
                    Some(fields) => write_trailers(&mut self.gathered.bytes, fields),
                    None => self.gathered.bytes.extend_from_slice(LAST_CHUNK),
                }
            }
            RequestFraming::Chunked => self.gathered.end_with(CHUNK_END_AND_LAST_CHUNK),
        }
        self.complete = true;
        Ok(())
    }

    fn poll_write(&self, cx: &mut Context<'_>, io: &mut Io) -> Poll<io::Result<usize>> {
        let mut slices = [IoSlice::new(&[]); 3];
        let count = self.gathered.parts(&mut slices);
        io.poll_write(cx, &slices[..count])
    }
}
