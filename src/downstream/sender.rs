//! An answer on its way to the socket: the head and whatever of the body is at hand leave in one write.
//!
//! Small pieces are copied behind the head; a large one is written from where it is. A body that streams is written as it comes and never
//! held back, and no more of it is asked for than the socket takes: the client's pace is the target's.

use super::{Cut, client::Client};
use crate::{
    http::BodyError,
    http1::{
        chunked::{CHUNK_END, CHUNK_END_AND_LAST_CHUNK, write_size},
        gathered::Gathered,
        response::{Framing, write_end},
    },
};
use bytes::Bytes;
use http::{HeaderMap, HeaderName};
use http_body::Body;
use std::{
    cell::RefCell,
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::Instant,
};

/// Why an answer did not get to its end.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unsent {
    #[error("the client closed the connection")]
    Gone,
    #[error("the client took no byte for too long")]
    Stalled,
    #[error(transparent)]
    Io(io::Error),
    #[error("{0}")]
    Body(BodyError),
    #[error("the body is not as long as announced")]
    Length,
}

impl Unsent {
    /// What the body is told; one that failed knows.
    pub fn cut(&self) -> Option<Cut> {
        match self {
            Unsent::Gone | Unsent::Io(_) => Some(Cut::Gone),
            Unsent::Stalled => Some(Cut::Stalled),
            Unsent::Body(_) | Unsent::Length => None,
        }
    }
}

pub(super) struct Sender<B> {
    /// The head, and what of the body goes next.
    pub gathered: Gathered,
    /// Gone before the last bytes are written when they are few: whoever has the answer finds it logged and counted, and a socket that
    /// took all before takes these. With many it is told what became of them.
    pub body: Option<B>,
    framing: Framing,
    /// What may come as trailers.
    announced: Vec<HeaderName>,
    trailers: Option<Box<HeaderMap>>,
    /// Whether `gathered` holds the end of the answer.
    complete: bool,
    /// Why the body ended too early; told once the client has what came before.
    failed: Option<Unsent>,
    /// When the socket began to take nothing.
    stuck: Option<Instant>,
}

impl<B: Body<Data = Bytes, Error = BodyError> + Unpin> Sender<B> {
    /// Sends `head`, then `body` framed so.
    pub fn new(head: Vec<u8>, body: B, framing: Framing, announced: Vec<HeaderName>) -> Sender<B> {
        Sender {
            gathered: Gathered::new(head),
            body: Some(body),
            complete: matches!(framing, Framing::None | Framing::Length(0)),
            framing,
            announced,
            trailers: None,
            failed: None,
            stuck: None,
        }
    }

    /// Writes on. Ready when the answer has left, or can't.
    pub fn poll<S>(&mut self, cx: &mut Context<'_>, client: &RefCell<Client<S>>) -> Poll<Result<(), Unsent>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        loop {
            // Not while the client is borrowed: a target's answer may go on reading the request's body.
            let starved = self.poll_gather(cx).is_pending();
            if self.complete && !self.gathered.has_piece() && self.failed.is_none() {
                self.body = None;
            }
            let mut client = client.borrow_mut();
            let out = self.poll_out(cx, &mut client);
            if out.is_ready() {
                self.stuck = None;
            }
            match out {
                Poll::Ready(Ok(())) if self.complete => return Poll::Ready(self.failed.take().map_or(Ok(()), Err)),
                Poll::Ready(Ok(())) if !starved => self.gathered.clear(),
                Poll::Ready(Ok(())) => {
                    self.gathered.clear();
                    return client.poll_gone(cx).map(|()| Err(Unsent::Gone));
                }
                Poll::Ready(Err(error)) => return Poll::Ready(Err(Unsent::Io(error))),
                Poll::Pending => {
                    if client.poll_gone(cx).is_ready() {
                        return Poll::Ready(Err(Unsent::Gone));
                    }
                    let since = *self.stuck.get_or_insert_with(Instant::now);
                    let Some(limit) = since.checked_add(client.limits.write_timeout) else { return Poll::Pending };
                    return client.timer.poll(cx, limit).map(|()| Err(Unsent::Stalled));
                }
            }
        }
    }

    /// Takes of the body what is at hand, up to a limit; pending when there is more to come, but not now.
    fn poll_gather(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while !self.complete && !self.gathered.is_full() {
            let Some(body) = &mut self.body else { break };
            let gathered = match ready!(Pin::new(body).poll_frame(cx)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => self.gather(data),
                    Err(frame) => {
                        self.trailers = frame.into_trailers().ok().map(Box::new);
                        Ok(())
                    }
                },
                Some(Err(error)) => Err(Unsent::Body(error)),
                None => self.complete(),
            };
            if let Err(failed) = gathered {
                self.failed = Some(failed);
                self.complete = true;
            }
        }
        Poll::Ready(())
    }

    fn gather(&mut self, data: Bytes) -> Result<(), Unsent> {
        if data.is_empty() {
            return Ok(());
        }
        let end = match &mut self.framing {
            Framing::Chunked => {
                write_size(&mut self.gathered.bytes, data.len());
                CHUNK_END
            }
            Framing::Length(left) => {
                // SECURITY: a byte too many would be read as the start of another answer.
                *left = left.checked_sub(data.len() as u64).ok_or(Unsent::Length)?;
                b""
            }
            Framing::UntilClose => b"",
            Framing::None => return Err(Unsent::Length),
        };
        self.gathered.add(data, end);
        // Asked here, so that the end leaves with the last piece.
        let ended = self.body.as_ref().is_none_or(Body::is_end_stream);
        if ended { self.complete() } else { Ok(()) }
    }

    fn complete(&mut self) -> Result<(), Unsent> {
        match self.framing {
            Framing::Length(1..) => return Err(Unsent::Length),
            Framing::None | Framing::Length(_) | Framing::UntilClose => {}
            Framing::Chunked if !self.gathered.has_piece() => {
                write_end(&mut self.gathered.bytes, self.trailers.as_deref(), &self.announced);
            }
            Framing::Chunked => self.gathered.end_with(CHUNK_END_AND_LAST_CHUNK),
        }
        self.complete = true;
        Ok(())
    }

    /// Writes what was gathered.
    fn poll_out<S>(&mut self, cx: &mut Context<'_>, client: &mut Client<S>) -> Poll<io::Result<()>>
    where
        S: AsyncWrite + Unpin,
    {
        let Some(io) = &mut client.io else { return Poll::Ready(Err(io::ErrorKind::NotConnected.into())) };
        let any = !self.gathered.is_empty();
        while self.gathered.unwritten() > 0 {
            let written = ready!(self.poll_write(cx, io))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.gathered.wrote(written);
            self.stuck = None;
        }
        // TLS may have taken more than the socket did.
        if any { Pin::new(io).poll_flush(cx) } else { Poll::Ready(Ok(())) }
    }

    fn poll_write<S: AsyncWrite + Unpin>(&self, cx: &mut Context<'_>, io: &mut S) -> Poll<io::Result<usize>> {
        if let Some(bytes) = self.gathered.only() {
            return Pin::new(io).poll_write(cx, bytes);
        }
        let mut slices = [IoSlice::new(&[]); 3];
        let count = self.gathered.parts(&mut slices);
        Pin::new(io).poll_write_vectored(cx, &slices[..count])
    }
}
