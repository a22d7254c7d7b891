//! A response body that is still arriving, with the connection it arrives on.
//!
//! Goes on sending the request body while it reads, since a target may answer while it is still reading. Gives the
//! connection back as soon as the last byte was read; dropped before that, it closes it.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use tokio::time::Instant;

use super::client::Exchange;
use super::error::{BadResponse, Kind, Phase, UpstreamError};
use crate::http::BodyError;
use crate::http1::body::BodyDecoder;

#[derive(Debug)]
pub(super) struct UpstreamBody {
    /// Nothing once the body has ended or failed.
    exchange: Option<Exchange>,
    decoder: BodyDecoder,
    /// Bytes that came with the head.
    first: Bytes,
    /// Fields that came behind the body.
    trailers: Option<Box<HeaderMap>>,
    reusable: bool,
}

impl UpstreamBody {
    pub fn new(exchange: Exchange, decoder: BodyDecoder, first: Bytes, reusable: bool) -> UpstreamBody {
        UpstreamBody { exchange: Some(exchange), decoder, first, trailers: None, reusable }
    }

    /// One that is here already, with its trailers.
    pub fn whole(decoder: BodyDecoder, first: Bytes, trailers: Option<Box<HeaderMap>>) -> UpstreamBody {
        UpstreamBody { exchange: None, decoder, first, trailers, reusable: false }
    }

    /// The next bytes; none of them at the end.
    fn poll_data(
        exchange: &mut Exchange,
        decoder: &mut BodyDecoder,
        trailers: &mut Option<Box<HeaderMap>>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(Bytes, Ended), (Phase, Kind)>> {
        // A request body that breaks off now leaves the response as it is: the target decided to answer without it.
        let _ = exchange.poll_send(cx);
        // A target that always has more at hand never lets the timer be asked.
        let deadline = exchange.timeouts.deadline;
        if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            return Poll::Ready(Err((Phase::Body, Kind::Timeout)));
        }
        loop {
            let read = exchange.connection.poll_read_body(cx);
            match (read, &decoder) {
                (Poll::Ready(Ok(0)), BodyDecoder::UntilClose) => {
                    return Poll::Ready(Ok((Bytes::new(), Ended::ByClose)));
                }
                (Poll::Ready(Ok(0)), _) => return Poll::Ready(Err((Phase::Body, Kind::Closed))),
                (Poll::Ready(Err(error)), _) => {
                    return Poll::Ready(Err((Phase::Body, Kind::Reset(error))));
                }
                (Poll::Pending, _) => return exchange.poll_timeout(cx, Phase::Body).map(Err),
                (Poll::Ready(Ok(_)), _) => {}
            }
            exchange.quiet_since = None;
            let decoded = decoder
                .decode(&mut exchange.connection.input)
                .map_err(|error| (Phase::Body, Kind::BadResponse(BadResponse::Chunk(error))))?;
            if decoded.ended {
                *trailers = decoded.trailers;
                return Poll::Ready(Ok((decoded.data, Ended::Whole)));
            }
            if !decoded.data.is_empty() {
                return Poll::Ready(Ok((decoded.data, Ended::No)));
            }
        }
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Ended {
    No,
    Whole,
    ByClose,
}

impl Body for UpstreamBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        if !this.first.is_empty() {
            let first = std::mem::take(&mut this.first);
            return Poll::Ready(Some(Ok(Frame::data(first))));
        }
        let Some(exchange) = &mut this.exchange else {
            return Poll::Ready(this.trailers.take().map(|fields| Ok(Frame::trailers(*fields))));
        };
        let (data, ended) = match UpstreamBody::poll_data(exchange, &mut this.decoder, &mut this.trailers, cx) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(Ok(found)) => found,
            Poll::Ready(Err((phase, kind))) => {
                let error: UpstreamError = exchange.error(phase, kind);
                this.exchange = None;
                return Poll::Ready(Some(Err(error.into())));
            }
        };
        if ended != Ended::No
            && let Some(exchange) = this.exchange.take()
        {
            exchange.finish(this.reusable && ended == Ended::Whole);
        }
        if data.is_empty() {
            return Poll::Ready(this.trailers.take().map(|fields| Ok(Frame::trailers(*fields))));
        }
        Poll::Ready(Some(Ok(Frame::data(data))))
    }

    fn is_end_stream(&self) -> bool {
        self.exchange.is_none() && self.first.is_empty() && self.trailers.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        match self.decoder.left() {
            Some(left) => SizeHint::with_exact(left + self.first.len() as u64),
            None => {
                let mut hint = SizeHint::new();
                hint.set_lower(self.first.len() as u64);
                hint
            }
        }
    }
}
