//! A request's body that has to come fast enough, as over HTTP/1.1.

use crate::{downstream::pace::Pace, http::BodyError, http2::body::Arriving, timer::Timer};
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use std::{
    pin::Pin,
    task::{Context, Poll},
};
use tokio::time::Instant;

pub struct Paced {
    body: Arriving,
    pace: Pace,
    timer: Timer,
    rate: u64,
}

impl Paced {
    /// At `rate` bytes a second.
    pub fn new(body: Arriving, rate: u64) -> Paced {
        Paced { body, pace: Pace::default(), timer: Timer::default(), rate }
    }
}

impl Body for Paced {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let Paced { body, pace, timer, rate } = &mut *self;
        match Pin::new(body).poll_frame(cx) {
            Poll::Ready(frame) => {
                let bytes = frame.as_ref().and_then(|frame| frame.as_ref().ok()?.data_ref().map(Bytes::len));
                pace.came(bytes.unwrap_or(0));
                Poll::Ready(frame.map(|frame| frame.map_err(|error| BodyError::Client(Box::new(error)))))
            }
            Poll::Pending => match pace.limit(*rate, Instant::now()) {
                Some(limit) => timer.poll(cx, limit).map(|()| Some(Err(BodyError::ClientTimeout(*rate)))),
                None => Poll::Pending,
            },
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
