//! Bodies on a stream of HTTP/2, in both directions.
//!
//! A request's body is read at the pace of whoever asks for it: only what was given on is given back to the client's window. An answer's is
//! asked for only as the client takes it.

use crate::{
    downstream::Cut,
    http::{BodyError, passed::content_length},
};
use bytes::Bytes;
use h2::{Reason, RecvStream, SendStream};
use http::{HeaderMap, header::CONTENT_LENGTH};
use http_body::{Body, Frame, SizeHint};
use std::{
    future::poll_fn,
    pin::Pin,
    task::{Context, Poll, ready},
};

/// A request's body.
pub struct Arriving {
    stream: RecvStream,
    /// The bytes still to come, when that is known. h2 holds the client to it (RFC 9113 §8.1.1).
    left: Option<u64>,
    data_ended: bool,
}

impl Arriving {
    pub fn new(stream: RecvStream, headers: &HeaderMap) -> Arriving {
        let left = headers.get(CONTENT_LENGTH).and_then(|value| content_length(value.as_bytes()));
        Arriving { stream, left, data_ended: false }
    }

    fn failed(error: h2::Error) -> BodyError {
        BodyError::Client(Box::new(error))
    }
}

impl Body for Arriving {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
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
                // RFC 9113 §8.1: the client has its answer, and wants no more.
                Some(Err(error)) if error.reason() == Some(Reason::NO_ERROR) => return Poll::Ready(None),
                Some(Err(error)) => return Poll::Ready(Some(Err(Arriving::failed(error)))),
                None => this.data_ended = true,
            }
        }
        match ready!(this.stream.poll_trailers(cx)) {
            Ok(Some(fields)) => Poll::Ready(Some(Ok(Frame::trailers(fields)))),
            Ok(None) => Poll::Ready(None),
            Err(error) => Poll::Ready(Some(Err(Arriving::failed(error)))),
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

/// Sends an answer's body.
///
/// # Errors
/// The client has reset the stream, or is gone, before it had all of it.
pub async fn send<B>(body: &mut B, mut stream: SendStream<Bytes>) -> Result<(), Cut>
where
    B: Body<Data = Bytes, Error = BodyError> + Unpin,
{
    loop {
        let frame = poll_fn(|cx| match stream.poll_reset(cx) {
            Poll::Ready(_) => Poll::Ready(Err(Cut::Gone)),
            Poll::Pending => Pin::new(&mut *body).poll_frame(cx).map(Ok),
        });
        let sent = match frame.await? {
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) => {
                    let ends = body.is_end_stream();
                    if !data.is_empty() {
                        room(&mut stream).await?;
                    }
                    stream.send_data(data, ends).map(|()| ends)
                }
                Err(frame) => {
                    let fields = frame.into_trailers().unwrap_or_default();
                    stream.send_trailers(fields).map(|()| true)
                }
            },
            Some(Err(_)) => {
                // What the client has is not all, and it must learn that.
                stream.send_reset(Reason::INTERNAL_ERROR);
                return Ok(());
            }
            None => stream.send_data(Bytes::new(), true).map(|()| true),
        };
        if sent.map_err(|_| Cut::Gone)? {
            return Ok(());
        }
    }
}

/// Waits until the client takes a byte.
async fn room(stream: &mut SendStream<Bytes>) -> Result<(), Cut> {
    // Only now, since a byte that is set aside is none of another stream's; h2 asks for the rest itself.
    stream.reserve_capacity(1);
    poll_fn(|cx| {
        if stream.poll_reset(cx).is_ready() {
            return Poll::Ready(Err(Cut::Gone));
        }
        while stream.capacity() == 0 {
            match ready!(stream.poll_capacity(cx)) {
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return Poll::Ready(Err(Cut::Gone)),
            }
        }
        Poll::Ready(Ok(()))
    })
    .await
}
