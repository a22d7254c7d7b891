//! What can go wrong with a target, and what follows: whose fault, which status, whether another try is allowed.
//!
//! The answers are exhaustive matches, so that a new kind of failure cannot be forgotten. Whether another try is *made*
//! is decided elsewhere, with a budget and the deadline in view.

use std::io;
use std::sync::Arc;

use http::{Method, StatusCode};

use super::Origin;
use crate::http::{BodyError, Fault};
use crate::http1::chunked::BadChunk;

/// A failed exchange with a target.
#[derive(Debug, thiserror::Error)]
#[error("{origin}: {phase}: {kind}")]
pub struct UpstreamError {
    pub origin: Arc<Origin>,
    pub phase: Phase,
    #[source]
    pub kind: Kind,
    /// Whether a byte of the request has left.
    pub sent: bool,
    /// Whether bytes of the request body are lost, so that it can't be sent again.
    pub body_consumed: bool,
}

/// How far the exchange had come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    Resolve,
    Connect,
    Write,
    Head,
    Body,
}

/// What happened.
#[derive(Debug, thiserror::Error)]
pub enum Kind {
    #[error("timed out")]
    Timeout,
    #[error("no address found: {0}")]
    Unresolved(#[source] io::Error),
    /// No connection could be made.
    #[error("{0}")]
    Refused(#[source] io::Error),
    /// The TLS handshake failed, as with a certificate that is not believed.
    #[error("TLS: {0}")]
    Tls(#[source] io::Error),
    /// The connection broke.
    #[error("{0}")]
    Reset(#[source] io::Error),
    /// The target closed the connection before it had answered in full.
    #[error("the connection was closed")]
    Closed,
    #[error("{0}")]
    BadResponse(#[source] BadResponse),
    /// The request body could not be read from the client.
    #[error("{0}")]
    Client(#[source] BodyError),
    /// The deadline passed while the target was waiting for more of the client's body.
    #[error("the client was too slow to send the request body")]
    ClientStalled,
    /// The request itself can't be written.
    #[error("{0}")]
    BadRequest(&'static str),
}

/// A response that RFC 9112 does not allow, or that is larger than this gateway takes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadResponse {
    #[error("the response is not http/1.x")]
    NotHttp,
    #[error("the response head is malformed: {0}")]
    Head(httparse::Error),
    #[error("a line of the response head does not end in cr lf")]
    BareLineFeed,
    #[error("the response head is longer than {0} bytes")]
    HeadTooLarge(usize),
    #[error("the response status {0} is out of range")]
    Status(u16),
    #[error("the response header `{0}` is malformed")]
    Header(String),
    #[error("the response content-length `{0}` is not one number")]
    ContentLength(String),
    #[error("the response has both content-length and transfer-encoding")]
    TwoLengths,
    #[error("the response transfer-encoding `{0}` is not `chunked` alone in http/1.1")]
    TransferEncoding(String),
    #[error("the response switches protocols unasked")]
    Switching,
    #[error("the response does not accept the websocket's key")]
    NotAccepted,
    #[error("the response to a websocket is {0} and not 101")]
    NotSwitched(u16),
    #[error("more than {0} interim responses")]
    TooManyInterim(usize),
    #[error("{0}")]
    Chunk(#[source] BadChunk),
}

impl UpstreamError {
    /// The word for it, in logs and metrics.
    pub fn word(&self) -> &'static str {
        match &self.kind {
            Kind::Timeout => "timeout",
            Kind::Unresolved(_) | Kind::Refused(_) | Kind::Tls(_) => "connect",
            Kind::Reset(_) | Kind::Closed => "reset",
            Kind::BadResponse(_) => "bad_response",
            Kind::Client(_) | Kind::ClientStalled => "client",
            Kind::BadRequest(_) => "bad_request",
        }
    }

    /// Whose fault it is.
    pub fn fault(&self) -> Fault {
        match &self.kind {
            Kind::Timeout
            | Kind::Unresolved(_)
            | Kind::Refused(_)
            | Kind::Tls(_)
            | Kind::Reset(_)
            | Kind::Closed
            | Kind::BadResponse(_) => Fault::Upstream,
            Kind::Client(error) => error.fault(),
            Kind::ClientStalled => Fault::Client,
            Kind::BadRequest(_) => Fault::Gateway,
        }
    }

    /// The status to answer with.
    pub fn status(&self) -> StatusCode {
        match &self.kind {
            Kind::Timeout => StatusCode::GATEWAY_TIMEOUT,
            Kind::Unresolved(_)
            | Kind::Refused(_)
            | Kind::Tls(_)
            | Kind::Reset(_)
            | Kind::Closed
            | Kind::BadResponse(_) => StatusCode::BAD_GATEWAY,
            Kind::Client(error) => error.status(),
            Kind::ClientStalled => StatusCode::REQUEST_TIMEOUT,
            Kind::BadRequest(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// Whether the same request may be sent again, to this or another target; `repeatable`: whether it may be done twice.
    ///
    /// Always when no byte has left; after that only what is repeatable and whose body is still here.
    /// A target that was reached and is slow is not asked again: that would double the load where it hurts.
    pub fn may_retry(&self, repeatable: bool) -> bool {
        if self.body_consumed {
            return false;
        }
        let unsent = !self.sent;
        match (&self.kind, self.phase) {
            (Kind::Unresolved(_) | Kind::Refused(_) | Kind::Tls(_), _) => true,
            (Kind::Timeout, Phase::Resolve | Phase::Connect) => true,
            (Kind::Timeout, Phase::Write | Phase::Head | Phase::Body) => false,
            (
                Kind::Reset(_) | Kind::Closed | Kind::BadResponse(_),
                Phase::Resolve | Phase::Connect | Phase::Write | Phase::Head,
            ) => unsent || repeatable,
            (Kind::Reset(_) | Kind::Closed | Kind::BadResponse(_), Phase::Body) => false,
            (Kind::Client(_) | Kind::ClientStalled | Kind::BadRequest(_), _) => false,
        }
    }
}

impl UpstreamError {
    /// The same for a service that asks for it: whether a try that was too slow may be made again. It may still be at work on
    /// the first, so that only what is repeatable is.
    pub fn may_retry_slow(&self, repeatable: bool) -> bool {
        matches!((&self.kind, self.phase), (Kind::Timeout, Phase::Write | Phase::Head))
            && !self.body_consumed
            && (!self.sent || repeatable)
    }
}

impl From<UpstreamError> for BodyError {
    fn from(error: UpstreamError) -> BodyError {
        match &error.kind {
            Kind::Timeout => BodyError::UpstreamTimeout(Box::new(error)),
            Kind::Unresolved(_)
            | Kind::Refused(_)
            | Kind::Tls(_)
            | Kind::Reset(_)
            | Kind::Closed
            | Kind::BadResponse(_)
            | Kind::Client(_)
            | Kind::ClientStalled
            | Kind::BadRequest(_) => BodyError::Upstream(Box::new(error)),
        }
    }
}

/// Whether sending a request twice does no more than sending it once (RFC 9110 §9.2.2).
pub fn is_idempotent(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS | Method::TRACE | Method::PUT | Method::DELETE)
}

impl std::fmt::Display for Phase {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Phase::Resolve => "resolving the name",
            Phase::Connect => "connecting",
            Phase::Write => "sending the request",
            Phase::Head => "waiting for the response",
            Phase::Body => "reading the response body",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(phase: Phase, kind: Kind, sent: bool, body_consumed: bool) -> UpstreamError {
        UpstreamError { origin: Arc::new(Origin::new("users", 9001).unwrap()), phase, kind, sent, body_consumed }
    }

    #[test]
    fn what_may_not_be_repeated_is_tried_again_only_while_no_byte_has_left() {
        let refused = || Kind::Refused(io::ErrorKind::ConnectionRefused.into());
        for (kind, phase, sent, consumed, repeatable, other) in [
            (refused(), Phase::Connect, false, false, true, true),
            (Kind::Timeout, Phase::Connect, false, false, true, true),
            (Kind::Closed, Phase::Write, false, false, true, true),
            (Kind::Closed, Phase::Head, true, false, true, false),
            (Kind::Closed, Phase::Head, true, true, false, false),
            (Kind::Timeout, Phase::Head, true, false, false, false),
            (Kind::Closed, Phase::Body, true, false, false, false),
        ] {
            let error = error(phase, kind, sent, consumed);
            let verdict = (error.may_retry(true), error.may_retry(false));
            assert_eq!(verdict, (repeatable, other), "{error}");
        }
    }

    #[test]
    fn an_error_names_the_target_the_step_and_the_cause() {
        let error = error(Phase::Head, Kind::Timeout, true, false);
        assert_eq!(error.to_string(), "users:9001: waiting for the response: timed out");
        assert_eq!(error.status(), StatusCode::GATEWAY_TIMEOUT);
        assert_eq!(error.fault(), Fault::Upstream);
    }
}
