//! A request's body that has to come fast enough, as over HTTP/1.1, and what becomes of the rest that nobody read.

use crate::{downstream::pace::Pace, http::BodyError, http2::body::Arriving, timer::Timer};
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use std::{
    cell::RefCell,
    future::poll_fn,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
    time::Duration,
};
use tokio::time::{Instant, timeout};

/// As much of a body is read away behind its answer, for so long.
const MAX_SKIPPED: usize = 1 << 20;
const SKIP_TIME: Duration = Duration::from_secs(5);

pub struct Paced {
    body: Rc<RefCell<Arriving>>,
    pace: Pace,
    timer: Timer,
    rate: u64,
}

impl Paced {
    /// At `rate` bytes a second.
    pub fn new(body: Rc<RefCell<Arriving>>, rate: u64) -> Paced {
        Paced { body, pace: Pace::default(), timer: Timer::default(), rate }
    }
}

impl Body for Paced {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let Paced { body, pace, timer, rate } = &mut *self;
        match Pin::new(&mut *body.borrow_mut()).poll_frame(cx) {
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
        self.body.borrow().is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.borrow().size_hint()
    }
}

/// Reads away what is left of the body of a request that is answered. Otherwise its stream would be reset, and a client that has just
/// sent more may miss the answer over it (curl before 8, and others). One that goes on for long is told so (RFC 9113 §8.1).
pub async fn skip(body: &RefCell<Arriving>) {
    let mut skipped = 0;
    let skipping = poll_fn(|cx| {
        loop {
            match Pin::new(&mut *body.borrow_mut()).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) if skipped < MAX_SKIPPED => {
                    skipped += frame.data_ref().map_or(0, Bytes::len);
                }
                Poll::Ready(_) => return Poll::Ready(()),
                Poll::Pending => return Poll::Pending,
            }
        }
    });
    // What is not here by then is not waited for.
    let _ = timeout(SKIP_TIME, skipping).await;
}
