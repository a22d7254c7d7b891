//! One request to one target, from its begin to the last byte of its answer, and what is learnt from it.
//!
//! Its head is judged by the target's health and breaker at once; its body is followed, since an answer may still break. A
//! target counts as busy, and its connection as in use, until then. Whether it is asked again is decided in `tries`.

use super::current::{Current, is_unreached};
use crate::{
    balance::{
        Cause, Clock, Permit, ServiceState, TargetState,
        breaker::{Round, Turn},
    },
    config::{CircuitBreaker, PassiveCheck},
    http::{Body, BodyError, Fault},
    upstream::{Kind, UpstreamError},
};
use bytes::Bytes;
use http::StatusCode;
use http_body::{Body as HttpBody, Frame, SizeHint};
use std::{
    pin::Pin,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll},
    time::Instant,
};
use tokio::sync::OwnedSemaphorePermit;

/// What a body that breaks is told to.
pub struct Watch {
    pub service: Arc<ServiceState>,
    pub breaker: Option<CircuitBreaker>,
    pub of_targets: Option<CircuitBreaker>,
}

/// One request to one target, in flight.
pub struct Attempt<'b> {
    pub(super) backend: &'b Current<'b>,
    pub(super) target: &'b Arc<TargetState>,
    pub(super) address: &'b str,
    /// It decides whether an ejection ends.
    pub(super) trial: bool,
    /// Of the target's own breaker.
    pub(super) permit: Option<Permit<'b>>,
    /// In which its target's breaker was when it began.
    pub(super) round: Round,
    pub(super) connection: Option<OwnedSemaphorePermit>,
}

impl Attempt<'_> {
    /// Judges an answer.
    pub fn answered(&mut self, status: StatusCode, at: Instant) {
        let clock = self.backend.state.clock;
        let failing = |policy: &PassiveCheck| policy.statuses.contains(&status.as_u16());
        // Nearly all answers are below.
        if status.as_u16() >= 400 && self.backend.passive.as_ref().is_some_and(failing) {
            self.failed_by(Cause::Status, clock, at);
        } else {
            self.target.succeeded(self.trial, self.backend.passive.as_ref(), || clock.at(at));
            if self.trial {
                tracing::info!(
                    service = &*self.backend.name,
                    address = self.address,
                    "a target that was left out is used again"
                );
            }
        }
        self.tell_breaker(counts(status), at);
    }

    /// Judges a failure; the client's own say nothing about the target.
    pub fn failed(&mut self, error: &UpstreamError, at: Instant) {
        if error.fault() == Fault::Upstream {
            let cause = match &error.kind {
                _ if is_unreached(error) => Cause::Unreached,
                Kind::Timeout => Cause::Timeout,
                _ => Cause::Broken,
            };
            self.failed_by(cause, self.backend.state.clock, at);
            self.tell_breaker(true, at);
        }
    }

    fn failed_by(&self, cause: Cause, clock: Clock, at: Instant) {
        let policy = self.backend.passive.as_ref();
        let may_eject = || policy.is_some_and(|policy| self.backend.may_eject(cause, policy));
        let now = clock.at(at);
        let is_ejected = self.target.failed(cause, self.trial, policy, now, may_eject)
            || policy.is_some_and(|policy| {
                self.backend.is_outlier(self.target, policy, now)
                    && self.target.eject(self.trial, policy, now, may_eject)
            });
        if is_ejected {
            let (service, address) = (&*self.backend.name, self.address);
            tracing::warn!(service, address, ?cause, "a target is left out for a while: it failed too often");
        }
    }

    fn tell_breaker(&mut self, failed: bool, at: Instant) {
        let turn = self.permit.take().and_then(|permit| permit.ended(failed, at));
        if turn == Some(Turn::Closed) {
            self.target.returned(self.backend.state.clock.at(at));
        }
        told(turn, &self.backend.name, self.address);
    }

    /// The body of the answer keeps the target busy until it has ended. `own_end`: the client's own deadline, which says nothing
    /// about the target. `round`: that of the service's breaker when the request began.
    pub fn follow(mut self, body: &mut Body, own_end: Option<Instant>, round: Round) {
        *body = match std::mem::take(body) {
            Body::Streamed(inner) => {
                let connection = self.connection.take();
                let name = self.backend.name.clone();
                let busy = Busy { target: self.target.clone(), service: name, _connection: connection };
                let own = self.backend.has_target_breakers().then_some(self.round);
                let (watch, rounds) = (self.backend.watch.clone(), [Some(round), own]);
                // It ends with the body, and not here. Its head was judged already, so that nothing else is left in it.
                std::mem::forget(self);
                Body::Streamed(Box::new(Followed { inner, busy, watch, rounds, own_end }))
            }
            body => body,
        };
    }
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        self.target.end(self.trial);
    }
}

/// Says what became of a breaker, of a target where there is an `address`.
pub fn told(turn: Option<Turn>, service: &str, address: &str) {
    match turn {
        None => {}
        Some(Turn::Opened) => tracing::warn!(service, address, "a circuit breaker has opened"),
        Some(Turn::Closed) => tracing::info!(service, address, "a circuit breaker has closed"),
    }
}

/// Whether a breaker counts it. 501 and 505 answer the request and not the load (RFC 9110 §15.6).
pub fn counts(status: StatusCode) -> bool {
    status.is_server_error()
        && status != StatusCode::NOT_IMPLEMENTED
        && status != StatusCode::HTTP_VERSION_NOT_SUPPORTED
}

struct Busy {
    target: Arc<TargetState>,
    service: Arc<str>,
    _connection: Option<OwnedSemaphorePermit>,
}

impl Drop for Busy {
    fn drop(&mut self) {
        // Its head was a success already: no trial any more.
        self.target.end(false);
    }
}

/// The body of an answer, and the target that is busy with it.
struct Followed {
    inner: crate::http::body::Streamed,
    busy: Busy,
    watch: Rc<Watch>,
    /// Of the service's breaker and the target's.
    rounds: [Option<Round>; 2],
    own_end: Option<Instant>,
}

impl Followed {
    #[cold]
    fn broke(&self, error: &BodyError) {
        let late = matches!(error, BodyError::UpstreamTimeout(_));
        let own = late && self.own_end.is_some_and(|end| Instant::now() >= end);
        if own || error.fault() != Fault::Upstream {
            return;
        }
        // Counted only: the next failure that is seen with its service decides about ejection.
        self.busy.target.failed(Cause::Broken, false, None, 0, || false);
        let Watch { service, breaker, of_targets } = &*self.watch;
        let now = service.clock.now();
        let both = [(&service.breaker, breaker), (&self.busy.target.breaker, of_targets)];
        for ((breaker, policy), round) in both.into_iter().zip(self.rounds) {
            if let (Some(policy), Some(round)) = (policy, round) {
                told(breaker.broke(policy, round, now), &self.busy.service, "");
            }
        }
    }
}

impl HttpBody for Followed {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let polled = Pin::new(&mut self.inner).poll_frame(cx);
        if let Poll::Ready(Some(Err(error))) = &polled {
            self.broke(error);
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
