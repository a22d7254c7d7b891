//! The client's end of a connection: the socket, what was read ahead, and the body of the current request.
//!
//! Shared by the connection's loop and by whoever reads the body, in one task, so that a cell suffices; no borrow lasts over a call to
//! anyone else. Purposefully nothing here waits on its own: everything is polled.

use super::{
    Limits,
    pace::Pace,
    spares::{READ, Spares},
};
use crate::{
    http::{BodyError, received::Source},
    http1::{body::BodyDecoder, chunked::ChunkedDecoder, request::Framing, response::write_interim},
    timer::Timer,
};
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, StatusCode};
use http_body::Frame;
use std::{
    cell::RefCell,
    future::Future,
    io,
    pin::{Pin, pin},
    rc::Rc,
    task::{Context, Poll, Waker, ready},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite},
    time::Instant,
};

/// Bytes that are read while an exchange runs and nobody asked for them: pipelined requests wait here, and no more.
const AHEAD: usize = READ;
/// How much is read at once of a body that is longer than one buffer.
const READ_BODY: usize = 64 * 1024;
/// Interim responses that wait for the socket; further ones are left out.
const MAX_INTERIM: usize = 16 * 1024;

const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

pub(super) struct Client<S> {
    /// Gone once the connection has switched protocols.
    pub io: Option<S>,
    /// Bytes that were read and not yet understood.
    pub input: BytesMut,
    pub timer: Timer,
    pub limits: Limits,
    pub spares: Rc<Spares>,
    pub arriving: Arriving,
    /// Interim responses on their way, and how much of them is written.
    early: Vec<u8>,
    written: usize,
    /// Whether reading came to an end, or writing failed.
    ended: bool,
}

/// The body of the current request.
#[derive(Default)]
pub(super) struct Arriving {
    /// The request's number on its connection.
    request: u64,
    /// Nothing when all of the body was read, or when the rest is lost.
    decoder: Option<BodyDecoder>,
    trailers: Option<Box<HeaderMap>>,
    is_lost: bool,
    /// A 100 is due when the body is first asked for.
    owes_continue: bool,
    /// The final answer is on its way: nothing may come before it any more.
    is_answered: bool,
    /// Whoever waits for the body, perhaps in a part of the task that the task's own waker does not wake.
    reader: Option<Waker>,
    pace: Pace,
}

#[derive(Debug, thiserror::Error)]
enum Lost {
    #[error("the connection ended before the body did")]
    Ended,
    #[error("the request is over")]
    Over,
}

impl Arriving {
    /// Whether the rest is likely to be short enough to be read away, so that the connection can be kept.
    pub fn may_be_skipped(&self, most: u64) -> bool {
        let short = match &self.decoder {
            None => true,
            Some(decoder) => decoder.left().is_none_or(|left| left <= most),
        };
        short && !self.is_lost && !self.owes_continue
    }

    pub fn has_ended(&self) -> bool {
        self.decoder.is_none() && !self.is_lost
    }

    fn lose(&mut self) {
        self.decoder = None;
        self.trailers = None;
        self.is_lost = true;
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Client<S> {
    pub fn new(io: S, limits: Limits, spares: Rc<Spares>) -> Client<S> {
        Client {
            io: Some(io),
            input: BytesMut::new(),
            timer: Timer::default(),
            limits,
            spares,
            arriving: Arriving::default(),
            early: Vec::new(),
            written: 0,
            ended: false,
        }
    }

    /// A request begins; its body is framed so.
    pub fn begin(&mut self, framing: Framing, owes_continue: bool) -> u64 {
        let request = self.arriving.request + 1;
        let decoder = match framing {
            Framing::None | Framing::Length(0) => None,
            Framing::Length(length) => Some(BodyDecoder::Length(length)),
            Framing::Chunked => Some(BodyDecoder::Chunked(ChunkedDecoder::default())),
        };
        self.arriving = Arriving { request, decoder, owes_continue, ..Arriving::default() };
        request
    }

    /// Reads more into `input`; 0 is the end.
    pub fn poll_read(&mut self, cx: &mut Context<'_>, room: usize) -> Poll<io::Result<usize>> {
        let Some(io) = &mut self.io else { return Poll::Ready(Ok(0)) };
        if self.input.capacity() == 0 {
            self.input = self.spares.input();
        }
        if self.input.capacity() - self.input.len() < room / 2 {
            self.input.reserve(room);
        }
        // A `ReadBuf` future keeps no state, so it can be made for each poll.
        pin!(io.read_buf(&mut self.input)).poll(cx)
    }

    /// Nothing is left to understand: the buffer is another connection's.
    pub fn rest(&mut self) {
        if self.input.is_empty() && self.input.capacity() > 0 {
            self.spares.give_input(std::mem::take(&mut self.input));
        }
    }

    /// Ready when the client has gone. Reads ahead, within limits, since an end comes behind what was sent. One that closes its
    /// sending half only has gone as well, as for nginx and Envoy: until something is written nobody could tell the two apart.
    pub fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.poll_early(cx).is_err() {
            self.ended = true;
        }
        while !self.ended && self.input.len() < AHEAD {
            match ready!(self.poll_read(cx, READ)) {
                Ok(0) | Err(_) => self.ended = true,
                Ok(count) => {
                    self.arriving.pace.came(count);
                    // It was told that nothing is there, and would not be told otherwise by the socket.
                    if let Some(reader) = self.arriving.reader.take() {
                        reader.wake();
                    }
                }
            }
        }
        if self.ended { Poll::Ready(()) } else { Poll::Pending }
    }

    /// Whether the client has gone in the middle of its request.
    pub fn has_left(&self) -> bool {
        self.ended && self.arriving.is_lost
    }

    /// Writes interim responses, as far as possible now.
    fn poll_early(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        while self.written < self.early.len() {
            let Some(io) = &mut self.io else { return Ok(()) };
            match Pin::new(io).poll_write(cx, &self.early[self.written..]) {
                Poll::Pending => return Ok(()),
                Poll::Ready(Ok(0)) => return Err(io::ErrorKind::WriteZero.into()),
                Poll::Ready(written) => self.written += written?,
            }
            if self.written == self.early.len() {
                self.early.clear();
                self.written = 0;
                if let Some(io) = &mut self.io
                    && let Poll::Ready(flushed) = Pin::new(io).poll_flush(cx)
                {
                    flushed?;
                }
            }
        }
        Ok(())
    }

    /// The final answer begins. What of the interim responses is not written yet goes before it.
    pub fn answer(&mut self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.early[self.written..]);
        self.early.clear();
        self.written = 0;
        self.arriving.is_answered = true;
    }

    /// The next frame of the current request's body.
    pub fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        loop {
            let arriving = &mut self.arriving;
            let Some(decoder) = &mut arriving.decoder else {
                if arriving.is_lost {
                    return Poll::Ready(Some(Err(BodyError::Client(Box::new(Lost::Ended)))));
                }
                return Poll::Ready(arriving.trailers.take().map(|fields| Ok(Frame::trailers(*fields))));
            };
            if !self.input.is_empty() {
                match decoder.decode(&mut self.input) {
                    Ok(decoded) => {
                        if decoded.ended {
                            arriving.decoder = None;
                            arriving.trailers = decoded.trailers;
                        }
                        if !decoded.data.is_empty() {
                            return Poll::Ready(Some(Ok(Frame::data(decoded.data))));
                        }
                        if decoded.ended {
                            continue;
                        }
                    }
                    Err(error) => {
                        arriving.lose();
                        return Poll::Ready(Some(Err(BodyError::Client(Box::new(error)))));
                    }
                }
            }
            if arriving.owes_continue && !arriving.is_answered {
                arriving.owes_continue = false;
                self.early.extend_from_slice(CONTINUE);
            }
            let room = match self.arriving.decoder.as_ref().and_then(BodyDecoder::left) {
                Some(left) if left <= READ as u64 => READ,
                _ => READ_BODY,
            };
            let failed = self.poll_early(cx).is_err();
            match self.poll_read(cx, room) {
                Poll::Ready(Ok(count)) if count > 0 && !failed => self.arriving.pace.came(count),
                Poll::Ready(_) => {
                    self.ended = true;
                    self.arriving.lose();
                }
                Poll::Pending => return self.poll_pace(cx),
            }
        }
    }

    fn poll_pace(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let rate = self.limits.min_body_rate;
        if let Some(limit) = self.arriving.pace.limit(rate, Instant::now())
            && self.timer.poll(cx, limit).is_ready()
        {
            self.arriving.lose();
            return Poll::Ready(Some(Err(BodyError::ClientTimeout(rate))));
        }
        let reader = &mut self.arriving.reader;
        if !reader.as_ref().is_some_and(|reader| reader.will_wake(cx.waker())) {
            *reader = Some(cx.waker().clone());
        }
        Poll::Pending
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Source for RefCell<Client<S>> {
    fn poll_frame(&self, request: u64, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let client = &mut *self.borrow_mut();
        // SECURITY: what comes now is of another request.
        if client.arriving.request != request {
            return Poll::Ready(Some(Err(BodyError::Client(Box::new(Lost::Over)))));
        }
        client.poll_body(cx)
    }

    fn has_ended(&self, request: u64) -> bool {
        let arriving = &self.borrow().arriving;
        arriving.request == request && arriving.has_ended() && arriving.trailers.is_none()
    }

    fn left(&self, request: u64) -> Option<u64> {
        let arriving = &self.borrow().arriving;
        match &arriving.decoder {
            _ if arriving.request != request => None,
            Some(decoder) => decoder.left(),
            None => Some(0),
        }
    }
}

/// Where interim responses to one request go.
#[derive(Clone)]
pub struct Interim {
    pub(super) client: Rc<dyn Interims>,
    pub(super) request: u64,
}

impl Interim {
    /// Tells the client; lost when the request is over. `headers` are without hop-by-hop fields.
    pub fn send(&self, status: StatusCode, headers: &HeaderMap) {
        // 100 is for the connection to say (RFC 9110 §10.1.1), and 101 is no interim response to anyone else.
        if status.is_informational() && status != StatusCode::CONTINUE && status != StatusCode::SWITCHING_PROTOCOLS {
            self.client.interim(self.request, status, headers);
        }
    }
}

pub(super) trait Interims {
    fn interim(&self, request: u64, status: StatusCode, headers: &HeaderMap);
}

impl<S> Interims for RefCell<Client<S>> {
    fn interim(&self, request: u64, status: StatusCode, headers: &HeaderMap) {
        let client = &mut *self.borrow_mut();
        if client.arriving.request == request && !client.arriving.is_answered && client.early.len() < MAX_INTERIM {
            write_interim(&mut client.early, status, headers);
        }
    }
}
