//! Bodies on a stream of HTTP/2.
//!
//! One that arrives is read at the pace of whoever asks for it: only what was given on is given back to the sender's window. One that leaves
//! is asked for only as the other end takes it.

use crate::http::passed::content_length;
use bytes::Bytes;
use h2::{Reason, RecvStream, SendStream};
use http::{HeaderMap, header::CONTENT_LENGTH};
use http_body::{Body, Frame, SizeHint};
use std::{
    future::poll_fn,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};
use tokio::time::timeout;

/// What is asked of the other end's window at once.
const PIECE: usize = 64 * 1024;

/// A body that arrives.
#[derive(Debug)]
pub struct Arriving {
    stream: RecvStream,
    /// The bytes still to come, when that is known. h2 holds the sender to it (RFC 9113 §8.1.1).
    left: Option<u64>,
    data_ended: bool,
    of: Message,
}

/// What a body is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Message {
    Request,
    /// To HEAD its length is another's.
    Response {
        to_head: bool,
    },
}

impl Arriving {
    pub fn new(stream: RecvStream, headers: &HeaderMap, of: Message) -> Arriving {
        let said = headers.get(CONTENT_LENGTH).and_then(|value| content_length(value.as_bytes()));
        let left = said.filter(|_| of != Message::Response { to_head: true });
        Arriving { stream, left, data_ended: false, of }
    }

    /// Whether this is how a target that has answered in full refuses the rest of the request (RFC 9113 §8.1).
    ///
    /// SECURITY: any other reset breaks the body off. Taken for its end, a request that its client has given up would be whole to
    /// the target, and half of an answer whole to the client.
    fn is_end(&self, error: &h2::Error) -> bool {
        matches!(self.of, Message::Response { .. })
            && error.reason() == Some(Reason::NO_ERROR)
            && self.left.is_none_or(|left| left == 0)
    }
}

impl Body for Arriving {
    type Data = Bytes;
    type Error = h2::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, h2::Error>>> {
        let this = &mut *self;
        if !this.data_ended {
            match ready!(this.stream.poll_data(cx)) {
                Some(Ok(data)) => {
                    let length = data.len();
                    // A stream that has ended meanwhile has no window any more.
                    let _ = this.stream.flow_control().release_capacity(length);
                    this.left = this.left.map(|left| left.saturating_sub(length as u64));
                    return Poll::Ready(Some(Ok(Frame::data(data))));
                }
                Some(Err(error)) if this.is_end(&error) => return Poll::Ready(None),
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => this.data_ended = true,
            }
        }
        match ready!(this.stream.poll_trailers(cx)) {
            Ok(Some(fields)) => Poll::Ready(Some(Ok(Frame::trailers(fields)))),
            Ok(None) => Poll::Ready(None),
            Err(error) if this.is_end(&error) => Poll::Ready(None),
            Err(error) => Poll::Ready(Some(Err(error))),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.stream.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        match self.left {
            _ if self.stream.is_end_stream() => SizeHint::with_exact(0),
            Some(left) => SizeHint::with_exact(left),
            None => SizeHint::new(),
        }
    }
}

/// Why the other end did not take all of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unsent {
    /// It has reset the stream, or its connection has ended.
    Reset,
    /// It took no byte for too long.
    Stalled,
}

/// Sends a body, of which a byte must be taken within `patience`. One that breaks off resets the stream.
///
/// # Errors
/// The other end did not take all of it.
pub async fn send<B>(body: &mut B, mut stream: SendStream<Bytes>, patience: Duration) -> Result<(), Unsent>
where
    B: Body<Data = Bytes> + Unpin,
{
    loop {
        let frame = poll_fn(|cx| match stream.poll_reset(cx) {
            Poll::Ready(_) => Poll::Ready(Err(Unsent::Reset)),
            Poll::Pending => Pin::new(&mut *body).poll_frame(cx).map(Ok),
        });
        let sent = match frame.await? {
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) => {
                    let ends = body.is_end_stream();
                    send_data(&mut stream, data, ends, patience).await?.map(|()| ends)
                }
                Err(frame) => {
                    let fields = frame.into_trailers().unwrap_or_default();
                    stream.send_trailers(fields).map(|()| true)
                }
            },
            Some(Err(_)) => {
                // What the other end has is not all, and it must learn that.
                stream.send_reset(Reason::INTERNAL_ERROR);
                return Ok(());
            }
            None => stream.send_data(Bytes::new(), true).map(|()| true),
        };
        if sent.map_err(|_| Unsent::Reset)? {
            return Ok(());
        }
    }
}

/// No more is handed over than the other end takes now: the rest would wait where nobody looks at the clock.
async fn send_data(
    stream: &mut SendStream<Bytes>,
    mut data: Bytes,
    ends: bool,
    patience: Duration,
) -> Result<Result<(), h2::Error>, Unsent> {
    while !data.is_empty() {
        let room = room(stream, data.len(), patience).await?;
        let piece = data.split_to(room.min(data.len()));
        if let Err(error) = stream.send_data(piece, ends && data.is_empty()) {
            return Ok(Err(error));
        }
        if data.is_empty() {
            return Ok(Ok(()));
        }
    }
    Ok(stream.send_data(data, ends))
}

/// Waits until the other end takes some of so many bytes; how many.
async fn room(stream: &mut SendStream<Bytes>, wanted: usize, patience: Duration) -> Result<usize, Unsent> {
    // Only now, since a byte that is set aside is none of another stream's.
    stream.reserve_capacity(wanted.min(PIECE));
    let taken = poll_fn(|cx| {
        if stream.poll_reset(cx).is_ready() {
            return Poll::Ready(Err(Unsent::Reset));
        }
        while stream.capacity() == 0 {
            match ready!(stream.poll_capacity(cx)) {
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return Poll::Ready(Err(Unsent::Reset)),
            }
        }
        Poll::Ready(Ok(stream.capacity()))
    });
    match timeout(patience, taken).await {
        Ok(taken) => taken,
        Err(_) => {
            stream.send_reset(Reason::CANCEL);
            Err(Unsent::Stalled)
        }
    }
}
