//! The server towards clients. HTTP/1.1 is one task a connection, and nothing in between; [`http2`] is beside it.
//!
//! A connection of HTTP/1.1 waits for a head, has it answered, writes the answer, and waits for the next. No channel is crossed and no task spawned
//! for a request, and what is read is read by whoever asks for it: the request's body by the exchange, the next head by
//! the connection. The loop is in [`serve`], what both sides share of the connection in `client`, the way out in `sender`.
//!
//! Every request that arrives is answered by the [`Service`], also one that can't be understood, so that it is logged and counted
//! like all others. This folder knows nothing of routes, scripts or targets; the bytes are understood by [`crate::http1`].

mod client;
pub mod http2;
mod linger;
mod pace;
mod sender;
mod serve;
mod spares;

pub use client::Interim;
pub use serve::serve;
pub use spares::Spares;

use crate::{
    http::{Body, BodyError, passed::Passed, police::Refusal},
    http1::request::HeadLimits,
};
use bytes::Bytes;
use futures_util::future::LocalBoxFuture;
use http::request::Parts;
use std::{io, time::Duration};
use tokio::io::{AsyncRead, AsyncWrite};

/// What answers requests.
pub trait Service {
    type Body: http_body::Body<Data = Bytes, Error = BodyError> + Unpin;

    /// Answers a request; `Connection: close` in the answer ends the connection behind it. Dropped when the client goes away. Boxed,
    /// since it passes through a dozen hands on its way to the client.
    fn serve(&self, request: Request) -> impl Future<Output = Box<http::Response<Self::Body>>>;

    /// Answers what was no request, or none that is taken.
    fn refuse(&self, refusal: Refusal) -> impl Future<Output = Box<http::Response<Self::Body>>>;

    /// Lines of the answer's head that a target has written and nobody has looked at, beside the headers. Asked for once.
    fn passed(&self, _body: &mut Self::Body) -> Option<Box<Passed>> {
        None
    }

    /// A body whose bytes did not all reach the client.
    fn cut_off(&self, body: &mut Self::Body, cut: Cut);
}

/// Why the client did not get all of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// It closed the connection.
    Gone,
    /// It took no byte for [`Limits::write_timeout`].
    Stalled,
}

/// A request, and what can be done with its connection.
pub struct Request {
    pub head: Box<Parts>,
    pub body: Body,
    /// Where interim responses go; clients of HTTP/1.0 know none (RFC 9110 §15.2).
    pub interim: Option<Interim>,
    /// The connection once a 101 has been written on it, for a request with an `Upgrade` field.
    pub upgrade: Option<Upgrading>,
}

pub type Upgrading = LocalBoxFuture<'static, io::Result<Upgraded>>;

/// A client's connection that has switched protocols.
pub struct Upgraded {
    pub io: Box<dyn Duplex>,
    /// Bytes of the new protocol that were read already.
    pub first: Bytes,
}

/// A stream in both directions, of whatever kind.
pub trait Duplex: AsyncRead + AsyncWrite + Unpin {}

impl<S: AsyncRead + AsyncWrite + Unpin> Duplex for S {}

/// What a client may take of the gateway's patience.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub head: HeadLimits,
    /// From the first byte of a head to its last.
    pub header_timeout: Duration,
    /// Without a byte between two requests.
    pub idle_timeout: Duration,
    /// Bytes a second of a body that is waited for; 0 for no limit.
    pub min_body_rate: u64,
    /// Without a byte taken while an answer is written.
    pub write_timeout: Duration,
}

#[cfg(test)]
mod tests;
