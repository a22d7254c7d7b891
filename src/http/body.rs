//! The body of a request or a response, wherever its bytes come from.
//!
//! One type serves both directions, so that a script can read a body and put it back. Most exchanges carry `Empty` or
//! `Full` and cost no allocation; only a body that is still arriving from a target is boxed. Purposefully not `Send`:
//! an exchange never leaves its worker. A client's trailers are dropped (RFC 9110 §6.5.1 allows it) unless its head announced
//! them; a field must not enter a message after the head was policed.

use std::cell::Cell;
use std::error::Error;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, StatusCode};
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::BodyExt;

use super::{Fault, received::Received, trailers};

/// A body that streams from somewhere else, such as a target.
pub type Streamed = Box<dyn HttpBody<Data = Bytes, Error = BodyError> + Unpin>;

/// The body of a request or a response.
#[derive(Default)]
pub enum Body {
    /// No bytes at all.
    #[default]
    Empty,
    /// Bytes that are in memory already.
    Full(Bytes),
    /// A request body still arriving from the client.
    Incoming(Received),
    /// The same, with trailers to come.
    Trailed(Box<Trailed>),
    /// A body still arriving from elsewhere.
    Streamed(Streamed),
}

type Strip = Box<dyn Fn(&mut HeaderMap)>;

/// A client's body whose trailers are forwarded, after something was taken out of them, or whose bytes are counted.
pub struct Trailed {
    received: Received,
    /// Absent: there is to be no trailer.
    strip: Option<Strip>,
    passed: Option<Rc<Cell<u64>>>,
}

/// Why a body could not be read to its end.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// More bytes than the reader allows; known before reading when the length was announced.
    #[error("the {of} body is longer than {limit} bytes")]
    TooLarge { limit: usize, of: Fault },
    /// The client's request body broke off or was malformed.
    #[error("reading the request body: {0}")]
    Client(#[source] Box<dyn Error + Send + Sync>),
    /// The client sent its request body too slowly.
    #[error("reading the request body: it came with less than {0} bytes a second")]
    ClientTimeout(u64),
    /// The target's response body broke off or was malformed.
    #[error("reading the response body: {0}")]
    Upstream(#[source] Box<dyn Error + Send + Sync>),
    /// The target stopped sending for too long, or the exchange's deadline passed.
    #[error("reading the response body: {0}")]
    UpstreamTimeout(#[source] Box<dyn Error + Send + Sync>),
    /// A script that changes the body as it streams failed.
    #[error("{0}")]
    Script(String),
}

impl BodyError {
    /// Whose fault it is.
    pub fn fault(&self) -> Fault {
        match self {
            BodyError::TooLarge { of, .. } => *of,
            BodyError::Client(_) | BodyError::ClientTimeout(_) => Fault::Client,
            BodyError::Upstream(_) | BodyError::UpstreamTimeout(_) => Fault::Upstream,
            BodyError::Script(_) => Fault::Gateway,
        }
    }

    /// The status to answer with while the response head is not yet sent.
    pub fn status(&self) -> StatusCode {
        match self {
            BodyError::TooLarge { of: Fault::Client, .. } => StatusCode::PAYLOAD_TOO_LARGE,
            BodyError::TooLarge { of: Fault::Upstream, .. } => StatusCode::BAD_GATEWAY,
            BodyError::TooLarge { of: Fault::Gateway, .. } => StatusCode::INTERNAL_SERVER_ERROR,
            BodyError::ClientTimeout(_) => StatusCode::REQUEST_TIMEOUT,
            BodyError::Client(_) => StatusCode::BAD_REQUEST,
            BodyError::Upstream(_) => StatusCode::BAD_GATEWAY,
            BodyError::UpstreamTimeout(_) => StatusCode::GATEWAY_TIMEOUT,
            BodyError::Script(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

impl Body {
    /// A body of these bytes; `Empty` when there are none.
    pub fn full(bytes: impl Into<Bytes>) -> Body {
        let bytes = bytes.into();
        if bytes.is_empty() { Body::Empty } else { Body::Full(bytes) }
    }

    /// The client's request body; `Empty` at once when the head announced none.
    pub fn incoming(body: impl Into<Received>) -> Body {
        let body = body.into();
        if body.is_end_stream() { Body::Empty } else { Body::Incoming(body) }
    }

    /// The client's request body with its trailers, of which `strip` removes what the head may not have either.
    /// Any other body stays as it is.
    #[must_use]
    pub fn with_trailers(self, strip: impl Fn(&mut HeaderMap) + 'static) -> Body {
        match self {
            Body::Incoming(received) => {
                Body::Trailed(Box::new(Trailed { received, strip: Some(Box::new(strip)), passed: None }))
            }
            other => other,
        }
    }

    /// A client's body of a length that is not known counts its bytes in `passed` as they go by.
    #[must_use]
    pub fn counted(self, passed: impl FnOnce() -> Rc<Cell<u64>>) -> Body {
        match self {
            Body::Incoming(received) if received.size_hint().exact().is_none() => {
                Body::Trailed(Box::new(Trailed { received, strip: None, passed: Some(passed()) }))
            }
            Body::Trailed(mut trailed) if trailed.received.size_hint().exact().is_none() => {
                trailed.passed = Some(passed());
                Body::Trailed(trailed)
            }
            body => body,
        }
    }

    /// The number of bytes, when it is known.
    pub fn len(&self) -> Option<u64> {
        self.size_hint().exact()
    }

    /// Whether it is known that no byte will come.
    pub fn is_empty(&self) -> bool {
        self.is_end_stream()
    }

    /// Reads the whole body into memory.
    ///
    /// # Errors
    /// [`BodyError::TooLarge`] when there are more than `limit` bytes: before reading any when the length was
    /// announced, and otherwise as soon as the limit is passed. The failure of the source otherwise. A body that is in
    /// memory already is given back as it is: the limit protects memory that was spent before.
    pub async fn collect(mut self, limit: usize) -> Result<Bytes, BodyError> {
        let of = match &mut self {
            Body::Empty => return Ok(Bytes::new()),
            // A short answer of a target comes whole, and is held to the limit like a long one.
            Body::Full(bytes) if bytes.len() > limit => return Err(BodyError::TooLarge { limit, of: Fault::Upstream }),
            Body::Full(bytes) => return Ok(std::mem::take(bytes)),
            Body::Incoming(_) | Body::Trailed(_) => Fault::Client,
            Body::Streamed(_) => Fault::Upstream,
        };
        let too_large = || BodyError::TooLarge { limit, of };
        if self.size_hint().lower() > limit as u64 {
            return Err(too_large());
        }
        let mut first = Bytes::new();
        let mut joined = BytesMut::new();
        let mut left = limit;
        while let Some(frame) = self.frame().await {
            let Ok(data) = frame?.into_data() else {
                continue;
            };
            left = left.checked_sub(data.len()).ok_or_else(too_large)?;
            if first.is_empty() {
                // Usually the whole body comes in one piece, and need not be copied.
                first = data;
                continue;
            }
            if joined.is_empty() {
                // Grows with what has come: the announced length is only the sender's word.
                joined.reserve(2 * (first.len() + data.len()));
                joined.extend_from_slice(&first);
            }
            joined.extend_from_slice(&data);
        }
        Ok(if joined.is_empty() { first } else { joined.freeze() })
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match self.get_mut() {
            Body::Empty => Poll::Ready(None),
            full @ Body::Full(_) => match std::mem::take(full) {
                Body::Full(bytes) if !bytes.is_empty() => Poll::Ready(Some(Ok(Frame::data(bytes)))),
                _ => Poll::Ready(None),
            },
            Body::Incoming(incoming) => loop {
                match ready!(Pin::new(&mut *incoming).poll_frame(cx)) {
                    Some(Ok(frame)) if !frame.is_data() => {}
                    data => return Poll::Ready(data),
                }
            },
            Body::Trailed(trailed) => {
                let Trailed { received, strip, passed } = &mut **trailed;
                loop {
                    let Some(frame) = ready!(Pin::new(&mut *received).poll_frame(cx)) else { return Poll::Ready(None) };
                    let mut frame = match frame {
                        Ok(frame) => frame,
                        Err(error) => return Poll::Ready(Some(Err(error))),
                    };
                    if let (Some(passed), Some(data)) = (&passed, frame.data_ref()) {
                        passed.set(passed.get() + data.len() as u64);
                    }
                    if let Some(fields) = frame.trailers_mut() {
                        let Some(strip) = &strip else { continue };
                        trailers::police(fields);
                        strip(fields);
                    }
                    return Poll::Ready(Some(Ok(frame)));
                }
            }
            Body::Streamed(body) => Pin::new(body).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Body::Empty => true,
            Body::Full(bytes) => bytes.is_empty(),
            Body::Incoming(incoming) => incoming.is_end_stream(),
            Body::Trailed(trailed) => trailed.received.is_end_stream(),
            Body::Streamed(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Body::Empty => SizeHint::with_exact(0),
            Body::Full(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Body::Incoming(incoming) => incoming.size_hint(),
            Body::Trailed(trailed) => trailed.received.size_hint(),
            Body::Streamed(body) => body.size_hint(),
        }
    }
}

impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Body {
        Body::full(bytes)
    }
}

impl From<String> for Body {
    fn from(text: String) -> Body {
        Body::full(text)
    }
}

impl From<&'static str> for Body {
    fn from(text: &'static str) -> Body {
        Body::full(text)
    }
}

impl std::fmt::Debug for Body {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Body::Empty => f.write_str("Empty"),
            Body::Full(bytes) => write!(f, "Full({} bytes)", bytes.len()),
            Body::Incoming(_) | Body::Trailed(_) => write!(f, "Incoming({:?} bytes)", self.len()),
            Body::Streamed(_) => write!(f, "Streamed({:?} bytes)", self.len()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::StreamBody;

    fn streamed(pieces: &'static [&'static str]) -> Body {
        let frames = pieces.iter().map(|piece| Ok::<_, BodyError>(Frame::data(Bytes::from_static(piece.as_bytes()))));
        Body::Streamed(Box::new(StreamBody::new(futures_util::stream::iter(frames))))
    }

    #[tokio::test]
    async fn pieces_are_joined_and_an_exact_fit_is_allowed() {
        let body = streamed(&["abc", "de", "f"]);
        assert_eq!(body.collect(6).await.unwrap(), "abcdef");
    }

    #[tokio::test]
    async fn one_byte_over_the_limit_is_refused() {
        let error = streamed(&["abc", "de", "f"]).collect(5).await.unwrap_err();
        assert_eq!(error.to_string(), "the upstream body is longer than 5 bytes");
        assert_eq!(error.status(), StatusCode::BAD_GATEWAY);
    }

    #[tokio::test]
    async fn a_body_in_memory_comes_back_and_reports_its_length() {
        let body = Body::from("hello");
        assert_eq!(body.len(), Some(5));
        assert_eq!(Body::from("").len(), Some(0));
        assert_eq!(body.collect(5).await.unwrap(), "hello");
        let error = Body::from("hello").collect(4).await.unwrap_err();
        assert_eq!(error.to_string(), "the upstream body is longer than 4 bytes");
    }
}
