//! The client towards targets: HTTP/1.1, driven inside the task of the exchange that uses it, and HTTP/2.
//!
//! No task is spawned and no channel crossed for a request: the future of [`Pool::send`] writes, waits and reads, and
//! the response body goes on from there. That halves the cost of a general client. The price is that the framing rules of
//! RFC 9112 §6 are ours to keep, on the line where requests get smuggled: [`head`], [`framing`] and [`crate::http1`] are pure
//! machines over bytes and doubt everything a target says. [`pool`] keeps connections, one pool a worker; [`http2`] shares
//! its own between exchanges. [`names`] keeps addresses
//! fresh. This folder knows nothing of services, balancing or retries elsewhere.

mod body;
mod client;
mod connection;
mod dial;
mod error;
mod extended;
mod framing;
mod head;
mod http2;
mod http2_body;
mod names;
mod origin;
mod pool;
mod probe;
mod sender;
mod tls;
mod ways;

pub use client::{Direct, Handshake, Lines, Request, Switched, Transport, Upgrade};
pub use dial::is_shortage;
pub use error::{BadResponse, Kind, Phase, UpstreamError, is_idempotent};
pub use names::{Name, Names, Resolved};
pub use origin::{BadOrigin, Origin};
pub use pool::Pool;
pub use probe::look;
pub use tls::{BadTls, SystemRoots, Tls, TlsSettings};

use std::time::Duration;

use http::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use tokio::time::Instant;

/// How long each step of an exchange with a target may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// Resolving the name and connecting.
    pub connect: Duration,
    /// From one write that the target accepts to the next.
    pub write: Duration,
    /// From the end of the request to the head of the response.
    pub first_byte: Duration,
    /// Then from one read to the next.
    pub read: Duration,
    /// The end of everything, the response body included.
    pub deadline: Option<Instant>,
    /// The body of an answer that is a stream by its kind may go on behind the deadline, for as long as something comes.
    pub streams_last: bool,
}

impl Default for Timeouts {
    /// Kong's defaults: 60 seconds each, and no deadline.
    fn default() -> Timeouts {
        Timeouts {
            connect: Duration::from_secs(60),
            write: Duration::from_secs(60),
            first_byte: Duration::from_secs(60),
            read: Duration::from_secs(60),
            deadline: None,
            streams_last: false,
        }
    }
}

impl Timeouts {
    /// For the body behind this head.
    fn of_body(self, headers: &HeaderMap) -> Timeouts {
        match self.streams_last && is_stream(headers) {
            true => Timeouts { deadline: None, ..self },
            false => self,
        }
    }

    /// The moment when a step that began at `start` and may take `length` has taken too long.
    fn limit(&self, start: Instant, length: Duration) -> Option<Instant> {
        let end = start.checked_add(length);
        match (end, self.deadline) {
            (Some(end), Some(deadline)) => Some(end.min(deadline)),
            (end, deadline) => end.or(deadline),
        }
    }
}

/// Whether an answer is a stream by its kind: Server-Sent Events, or a call of gRPC, of which nobody knows when it ends.
pub fn is_stream(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
    let begins = |with: &[u8]| kind.get(..with.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(with));
    begins(b"text/event-stream") || begins(b"application/grpc")
}

#[cfg(test)]
mod tests;
