//! A client's body while it arrives, from either HTTP.
//!
//! That of HTTP/1.1 is a handle to the connection, which belongs to one of its requests: what is asked of it after that request is over
//! is an error, never a byte of the next request. It may give trailers; whether they pass is for [`super::Body`] to say.

use super::{BodyError, body::Streamed};
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use std::{
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
};

pub enum Received {
    Http1(Pulled),
    /// A stream of its own.
    Http2(Streamed),
}

/// The body of one request on a connection that reads when it is asked to.
pub struct Pulled {
    pub source: Rc<dyn Source>,
    /// The number of the request on its connection.
    pub request: u64,
}

/// A connection whose current request has a body.
pub trait Source {
    /// The next frame of that request's body.
    fn poll_frame(&self, request: u64, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>>;
    /// Whether all of it has been given.
    fn has_ended(&self, request: u64) -> bool;
    /// The bytes still to come, when that is known.
    fn left(&self, request: u64) -> Option<u64>;
}

impl From<Pulled> for Received {
    fn from(body: Pulled) -> Received {
        Received::Http1(body)
    }
}

impl Body for Received {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match self.get_mut() {
            Received::Http1(body) => body.source.poll_frame(body.request, cx),
            Received::Http2(body) => Pin::new(body).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Received::Http1(body) => body.source.has_ended(body.request),
            Received::Http2(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Received::Http1(body) => body.source.left(body.request).map_or_else(SizeHint::new, SizeHint::with_exact),
            Received::Http2(body) => body.size_hint(),
        }
    }
}
