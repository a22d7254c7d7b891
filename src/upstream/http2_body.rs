//! Bodies on a shared connection: the request's, lent to the task that sends it, and the response's, with the stream that it uses.

use std::cell::{Cell, RefCell};
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use h2::SendStream;
use http_body::{Body as HttpBody, Frame, SizeHint};
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::error::{Kind, Phase, UpstreamError};
use super::http2::{Streams, reset};
use super::{Origin, Timeouts};
use crate::http::{Body, BodyError, trailers};
use crate::http2::body::{self, Arriving};
use crate::timer::Timer;

/// One stream of a connection, given back when it is dropped.
#[derive(Debug)]
pub(super) struct Using(Rc<Streams>);

impl Using {
    pub fn new(streams: &Rc<Streams>) -> Using {
        streams.used.set(streams.used.get() + 1);
        Using(streams.clone())
    }

    pub fn streams(&self) -> &Streams {
        &self.0
    }
}

impl Drop for Using {
    fn drop(&mut self) {
        self.0.used.set(self.0.used.get() - 1);
        self.0.since.set(Instant::now());
    }
}

/// A request body that another task reads, and that comes back when it didn't.
#[derive(Debug)]
pub(super) struct Lent {
    body: RefCell<Body>,
    touched: Cell<bool>,
    waits_for_client: Cell<bool>,
    moved: Cell<Instant>,
    failed: RefCell<Option<BodyError>>,
}

impl Lent {
    pub fn new(body: Body) -> Rc<Lent> {
        Rc::new(Lent {
            body: RefCell::new(body),
            touched: Cell::new(false),
            waits_for_client: Cell::new(false),
            moved: Cell::new(Instant::now()),
            failed: RefCell::default(),
        })
    }

    /// Whether bytes were taken that nobody else has.
    pub fn was_touched(&self) -> bool {
        self.touched.get()
    }

    pub fn waits_for_client(&self) -> bool {
        self.waits_for_client.get()
    }

    /// When it last gave something, or was asked for more after that.
    pub fn moved(&self) -> Instant {
        self.moved.get()
    }

    pub fn is_empty(&self) -> bool {
        self.body.borrow().is_end_stream()
    }

    pub fn take_back(&self) -> Body {
        std::mem::take(&mut self.body.borrow_mut())
    }

    /// What it failed with.
    pub fn failure(&self) -> Option<BodyError> {
        self.failed.borrow_mut().take()
    }
}

/// The same body as that task sees it.
#[derive(Debug)]
pub(super) struct Outgoing(Rc<Lent>);

impl Outgoing {
    pub fn of(lent: &Rc<Lent>) -> Outgoing {
        Outgoing(lent.clone())
    }
}

impl HttpBody for Outgoing {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let lent = &self.0;
        let polled = Pin::new(&mut *lent.body.borrow_mut()).poll_frame(cx);
        lent.waits_for_client.set(polled.is_pending());
        lent.moved.set(Instant::now());
        polled.map(|frame| {
            frame.map(|frame| {
                lent.touched.set(true);
                frame.map_err(|error| {
                    let shown = io::Error::other(error.to_string());
                    lent.failed.replace(Some(error));
                    shown
                })
            })
        })
    }

    fn is_end_stream(&self) -> bool {
        self.0.body.borrow().is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.body.borrow().size_hint()
    }
}

/// The task that sends a request's body; it ends with whoever waits for the answer.
#[derive(Debug)]
pub(super) struct Piping(Option<AbortHandle>);

impl Piping {
    pub fn none() -> Piping {
        Piping(None)
    }

    pub fn of(mut body: Outgoing, sending: SendStream<Bytes>) -> Piping {
        if body.is_end_stream() {
            return Piping::none();
        }
        let task = tokio::task::spawn_local(async move {
            // Why it failed is known to who waits for the answer, as is how long it may take.
            let _ = body::send(&mut body, sending, Duration::MAX).await;
        });
        Piping(Some(task.abort_handle()))
    }
}

impl Drop for Piping {
    fn drop(&mut self) {
        if let Some(task) = &self.0 {
            task.abort();
        }
    }
}

/// A response body that is still arriving; dropped before its end, it resets its stream.
#[derive(Debug)]
pub(super) struct ResponseBody {
    /// Nothing once it has ended or failed.
    incoming: Option<(Arriving, Using, Piping)>,
    lent: Rc<Lent>,
    origin: Arc<Origin>,
    timeouts: Timeouts,
    timer: Timer,
    quiet_since: Option<Instant>,
}

impl ResponseBody {
    pub fn new(
        incoming: Arriving,
        using: Using,
        lent: Rc<Lent>,
        piping: Piping,
        origin: Arc<Origin>,
        timeouts: Timeouts,
    ) -> ResponseBody {
        let incoming = Some((incoming, using, piping));
        ResponseBody { incoming, lent, origin, timeouts, timer: Timer::default(), quiet_since: None }
    }

    /// Empty at once when the head was all.
    pub fn into_body(self) -> Body {
        if self.is_end_stream() { Body::Empty } else { Body::Streamed(Box::new(self)) }
    }

    fn fail(&mut self, kind: Kind) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        self.incoming = None;
        let body_consumed = self.lent.was_touched();
        let origin = self.origin.clone();
        let error = UpstreamError { origin, phase: Phase::Body, kind, sent: true, body_consumed };
        Poll::Ready(Some(Err(error.into())))
    }
}

impl HttpBody for ResponseBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        let Some((incoming, ..)) = &mut this.incoming else {
            return Poll::Ready(None);
        };
        // A target that always has more at hand never lets the timer be asked.
        if this.timeouts.deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            return this.fail(Kind::Timeout);
        }
        match Pin::new(incoming).poll_frame(cx) {
            Poll::Pending => {}
            Poll::Ready(None) => {
                this.incoming = None;
                return Poll::Ready(None);
            }
            Poll::Ready(Some(Err(error))) => return this.fail(reset(error)),
            Poll::Ready(Some(Ok(mut frame))) => {
                this.quiet_since = None;
                if let Some(fields) = frame.trailers_mut() {
                    trailers::police(fields);
                }
                return Poll::Ready(Some(Ok(frame)));
            }
        }
        let since = *this.quiet_since.get_or_insert_with(Instant::now);
        let Some(limit) = this.timeouts.limit(since, this.timeouts.read) else { return Poll::Pending };
        match this.timer.poll(cx, limit) {
            Poll::Ready(()) => this.fail(Kind::Timeout),
            Poll::Pending => Poll::Pending,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.as_ref().is_none_or(|(incoming, ..)| incoming.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.as_ref().map_or_else(|| SizeHint::with_exact(0), |(incoming, ..)| incoming.size_hint())
    }
}
